package arch

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

const module = "github.com/parhost/parhost/"

// A layer says which packages its packages may link, directly or indirectly. The lists hold import paths, without the module's path for our own
// packages; PATH/... is PATH and everything below it. A package belongs to the first layer that lists it. It may always link its neighbours, which
// share the first two elements of its path, as all packages below plugins/sqrt do.
type layer struct {
	packages []string
	ours     []string
	theirs   []string // nil: everything that has no home elsewhere
	why      string
}

// A home names the only packages that may import a heavy dependency. A package that may link the home may link the dependency through it.
type home struct {
	of       []string
	packages []string
	why      string
}

var layers = []layer{
	{
		packages: []string{"host/sandbox/internal/launcher"},
		theirs:   []string{},
		why:      "a launcher begins when all that it links has been initialized",
	},
	{
		packages: []string{"protocol"},
		ours:     []string{"internal/lastword", "internal/bound"},
		theirs:   []string{},
		why:      "it is what plugins and hosts share, and says nothing of how",
	},
	{
		packages: []string{"internal/...", "host/sandbox/..."},
		ours:     []string{"protocol", "internal/..."},
		why:      "it lies below everything else",
	},
	{
		packages: []string{"sdk"},
		ours:     []string{"protocol", "internal/..."},
		theirs:   light,
		why:      "every plugin links the sdk, so it knows no host and stays light",
	},
	{
		packages: []string{"sdk/...", "plugins/..."},
		ours:     []string{"protocol", "sdk", "internal/..."},
		theirs:   append([]string{"golang.org/x/sync/..."}, light...), // for the host's half of a stream, which sdktest uses
		why:      "a plugin needs package sdk alone, and stays light",
	},
	{
		packages: []string{"host/internal/child"},
		ours:     []string{"protocol", "host/sandbox/...", "internal/..."},
		why:      "the operating system's side of a worker knows neither items nor the host",
	},
	{
		packages: []string{"host/internal/worker"},
		ours:     []string{"protocol", "internal/wire/...", "internal/lastword", "internal/bound"},
		why:      "it is what the scheduler and its workers agree on",
	},
	{
		packages: []string{"host/internal/process"},
		ours:     []string{"protocol", "host/internal/child", "host/internal/worker", "host/sandbox/...", "internal/..."},
		why:      "a process as a worker knows nothing of the scheduler",
	},
	{
		packages: []string{"host"},
		ours:     []string{"protocol", "sdk", "host/internal/...", "host/sandbox/...", "internal/..."},
		why:      "the host serves an application without a command line, a cluster or a dashboard",
	},
	{
		packages: []string{"host/dossier"},
		ours:     []string{"protocol", "host", "host/joblog", "sdk", "host/internal/...", "host/sandbox/...", "internal/..."},
		why:      "a dossier names the origin of its run as a joblog does",
	},
	{
		packages: []string{"host/dashboard", "host/telemetry/metrics"},
		ours:     []string{"protocol", "host", "host/history", "sdk", "host/internal/...", "host/sandbox/...", "internal/..."},
		why:      "what shows a run reads the history",
	},
	{
		packages: []string{"host/..."},
		ours:     []string{"protocol", "host", "sdk", "host/internal/...", "host/sandbox/...", "internal/..."},
		why:      "what is built on the host can be taken or left one by one",
	},
	{
		packages: []string{"cmd/...", "bench/...", "examples/..."},
		ours:     []string{"protocol", "sdk/...", "plugins/...", "host/...", "internal/..."},
		why:      "commands share code through packages",
	},
}

var homes = []home{
	{
		of:       []string{"github.com/spf13/..."},
		packages: []string{"cmd/..."},
		why:      "only a command parses a command line",
	},
	{
		of:       []string{"github.com/nats-io/..."},
		packages: []string{"host/cluster/..."},
		why:      "only host/cluster knows the engine",
	},
	{
		of:       []string{"github.com/elastic/..."},
		packages: []string{"host/sandbox/..."},
		why:      "only host/sandbox makes filters of system calls",
	},
	{
		of:       []string{"golang.org/x/time/..."},
		packages: []string{"host/internal/child", "host/cluster/server"}, // nats-server links it, too
		why:      "only host/internal/child bounds a rate",
	},
	{
		of:       []string{"golang.org/x/mod/..."},
		packages: []string{"internal/gobuild"},
		why:      "only internal/gobuild reads what belongs to Go",
	},
	{
		of:       []string{"github.com/chromedp/..."},
		packages: []string{"internal/screens"},
		why:      "only the tests of the page use a browser",
	},
	{
		of:       []string{"go.opentelemetry.io/...", "github.com/prometheus/..."},
		packages: []string{"host/telemetry/..."},
		why:      "only host/telemetry exports numbers",
	},
}

// light is what a plugin may link: the libraries for the protocol, for schemas and for JSON, and their own dependencies.
var light = []string{
	"github.com/go-json-experiment/json/...",
	"github.com/google/jsonschema-go/...", "github.com/hashicorp/go-hclog/...", "github.com/hashicorp/go-plugin/...",
	"google.golang.org/grpc/...", "google.golang.org/protobuf/...",

	"github.com/fatih/color/...", "github.com/golang/protobuf/...", "github.com/hashicorp/yamux/...",
	"github.com/mattn/go-colorable/...", "github.com/mattn/go-isatty/...", "github.com/oklog/run/...",
	"golang.org/x/net/...", "golang.org/x/sys/...", "golang.org/x/text/...", "google.golang.org/genproto/googleapis/rpc/...",
}

func TestImportsPointDownwards(t *testing.T) {
	for _, goos := range []string{"linux", "darwin", "windows"} {
		t.Run(goos, func(t *testing.T) {
			for _, v := range violations(imports(t, goos)) {
				t.Error(v)
			}
		})
	}
}

// imports maps each of our packages, and each package that they link outside the standard library, to its imports.
func imports(t *testing.T, goos string) map[string][]string {
	t.Helper()
	cmd := exec.Command("go", "list", "-deps", "-f", `{{if not .Standard}}{{.ImportPath}} {{join .Imports " "}}{{end}}`, module+"...")
	cmd.Env = append(os.Environ(), "GOOS="+goos, "CGO_ENABLED=0")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	graph := map[string][]string{}
	for line := range strings.Lines(strings.ReplaceAll(string(out), module, "")) {
		if f := strings.Fields(line); len(f) > 0 {
			graph[f[0]] = f[1:]
		}
	}
	if _, ok := graph["internal/arch"]; !ok {
		t.Fatalf("go list %s... does not know this package: is the module called something else?", module)
	}
	return graph
}
