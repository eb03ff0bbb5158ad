package arch

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// violations returns a line for each link that a layer or a home forbids, with the shortest import chain. It does not look behind a forbidden
// package, and it reports a violation only for the lowest package, not for those that link it.
func violations(graph map[string][]string) []string {
	var found []string
	for _, p := range slices.Sorted(maps.Keys(graph)) {
		if isOurs(p) && layerOf(p) == nil {
			found = append(found, p+" has no layer: give it one in internal/arch")
		}
		seen := map[string]bool{p: true}
		for queue := [][]string{{p}}; isOurs(p) && len(queue) > 0; queue = queue[1:] {
			for _, q := range graph[queue[0][len(queue[0])-1]] {
				if _, listed := graph[q]; !listed || seen[q] {
					continue // a package of the standard library, or one that a shorter chain has reached
				}
				seen[q] = true
				chain := append(slices.Clip(queue[0]), q)
				if why := forbids(chain); why == "" {
					queue = append(queue, chain)
				} else if !toldBelow(chain) {
					found = append(found, fmt.Sprintf("%s must not link %s: %s (%s)", p, q, why, strings.Join(chain, " → ")))
				}
			}
		}
	}
	return found
}

// forbids returns the reason why the first package of a chain must not link the last one, or "" if it may.
func forbids(chain []string) string {
	p, q, between := chain[0], chain[len(chain)-1], chain[1:len(chain)-1]
	l := layerOf(p)
	switch {
	case l == nil:
		return ""
	case isOurs(q) && !neighbours(p, q) && !matches(l.ours, q):
		return l.why
	case !isOurs(q) && l.theirs != nil && !matches(l.theirs, q):
		return l.why
	}
	for _, h := range homes {
		if matches(h.of, q) && !matches(h.packages, p) && !slices.ContainsFunc(between, isOurs) {
			return h.why
		}
	}
	return ""
}

// toldBelow reports whether a package between the ends of a chain must not link the last one either.
func toldBelow(chain []string) bool {
	for i := 1; i < len(chain)-1; i++ {
		if isOurs(chain[i]) && forbids(chain[i:]) != "" {
			return true
		}
	}
	return false
}

func layerOf(p string) *layer {
	i := slices.IndexFunc(layers, func(l layer) bool { return matches(l.packages, p) })
	if i < 0 {
		return nil
	}
	return &layers[i]
}

// isOurs distinguishes our packages, whose paths lack the module's path, from those of other modules, which begin with a host name.
func isOurs(p string) bool {
	first, _, _ := strings.Cut(p, "/")
	return !strings.Contains(first, ".")
}

// neighbours reports whether two of our packages share the first two elements of their paths.
func neighbours(p, q string) bool {
	a, b := strings.Split(p, "/"), strings.Split(q, "/")
	return len(a) > 1 && len(b) > 1 && slices.Equal(a[:2], b[:2])
}

func matches(patterns []string, p string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		base, tree := strings.CutSuffix(pattern, "/...")
		return p == base || tree && strings.HasPrefix(p, base+"/")
	})
}

func TestViolations(t *testing.T) {
	for name, c := range map[string]struct {
		graph map[string][]string
		want  []string
	}{
		"downwards only": {graph: map[string][]string{
			"cmd/parhost":                      {"host", "host/cluster", "github.com/spf13/cobra", "plugins/sqrt"},
			"host/cluster":                     {"host", "github.com/nats-io/nats.go"},
			"host":                             {"host/sandbox", "sdk", "example.org/retry"},
			"host/sandbox":                     {"internal/wire"},
			"plugins/sqrt/parhost-plugin-sqrt": {"plugins/sqrt", "sdk"},
			"plugins/sqrt":                     {"sdk"},
			"sdk/sdktest":                      {"sdk"},
			"sdk":                              {"fmt", "internal/wire", "google.golang.org/grpc/codes"},
			"internal/wire":                    {"internal/arena"},
			"internal/arena":                   {"unsafe"},
			"example.org/retry":                {},
			"github.com/nats-io/nats.go":       {},
			"github.com/spf13/cobra":           {"github.com/spf13/pflag"},
			"github.com/spf13/pflag":           {},
			"google.golang.org/grpc/codes":     {},
		}},
		"upwards": {
			graph: map[string][]string{"internal/wire": {"sdk"}, "sdk": {}},
			want:  []string{"internal/wire must not link sdk: it lies below everything else (internal/wire → sdk)"},
		},
		"upwards, told where it begins and not of those above": {
			graph: map[string][]string{"sdk": {"internal/wire"}, "internal/wire": {"host"}, "host": {"host/sandbox"}, "host/sandbox": {}},
			want:  []string{"internal/wire must not link host: it lies below everything else (internal/wire → host)"},
		},
		"sideways": {
			graph: map[string][]string{
				"host/cluster": {"host/joblog"}, "host/joblog": {}, "plugins/sqrt": {"plugins/sleep"}, "plugins/sleep": {},
			},
			want: []string{
				"host/cluster must not link host/joblog: what is built on the host can be taken or left one by one (host/cluster → host/joblog)",
				"plugins/sqrt must not link plugins/sleep: a plugin needs package sdk alone, and stays light (plugins/sqrt → plugins/sleep)",
			},
		},
		"a plugin's dependency that no rule names, through another package": {
			graph: map[string][]string{
				"plugins/sqrt": {"sdk"}, "sdk": {"internal/wire"}, "internal/wire": {"example.org/a"},
				"example.org/a": {"example.org/b"}, "example.org/b": {},
			},
			want: []string{
				"sdk must not link example.org/a: every plugin links the sdk, so it knows no host and stays light " +
					"(sdk → internal/wire → example.org/a)",
			},
		},
		"a heavy dependency away from home, through another module": {
			graph: map[string][]string{"cmd/parhost": {"host"}, "host": {"example.org/a"}, "example.org/a": {"github.com/nats-io/nats.go"}, "github.com/nats-io/nats.go": {}},
			want:  []string{"host must not link github.com/nats-io/nats.go: only host/cluster knows the engine (host → example.org/a → github.com/nats-io/nats.go)"},
		},
		"a heavy dependency imported by who may only link it": {
			graph: map[string][]string{"cmd/parhost": {"github.com/nats-io/nats.go", "host/cluster"}, "host/cluster": {"github.com/nats-io/nats.go"}, "github.com/nats-io/nats.go": {}},
			want:  []string{"cmd/parhost must not link github.com/nats-io/nats.go: only host/cluster knows the engine (cmd/parhost → github.com/nats-io/nats.go)"},
		},
		"a package that no layer lists": {
			graph: map[string][]string{"util": {}},
			want:  []string{"util has no layer: give it one in internal/arch"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if got := violations(c.graph); !slices.Equal(got, c.want) {
				t.Errorf("violations:\ngot  %q\nwant %q", got, c.want)
			}
		})
	}
}
