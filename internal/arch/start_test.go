package arch

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// A worker cannot be ready before its packages are. What they do until then costs every start, and shows in what they allocate,
// which is the same on every machine; the time is not. Most of it is grpc's and protobuf's, which no plugin can do without.
const (
	startAllocations = 4000
	startBytes       = 640_000

	// A package of ours says what it has; it works nothing out. What protoc-gen-go makes has to register itself.
	ownAllocations = 40
)

// initLine is what GODEBUG=inittrace=1 says of one package.
var initLine = regexp.MustCompile(`^init (\S+) @.* ([0-9]+) bytes, ([0-9]+) allocs$`)

func TestAPluginsStartDoesLittle(t *testing.T) {
	dir := t.TempDir()
	build := exec.Command("go", "build", "-o", dir, module+"plugins/...")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	plugins, err := filepath.Glob(filepath.Join(dir, "parhost-plugin-*"))
	if err != nil || len(plugins) == 0 {
		t.Fatalf("got %v and the plugins %v, want some", err, plugins)
	}
	for _, path := range plugins {
		t.Run(filepath.Base(path), func(t *testing.T) {
			start := exec.Command(path) // it says that it is a plugin, and ends
			start.Env = append(os.Environ(), "GODEBUG=inittrace=1")
			var stderr bytes.Buffer
			start.Stderr = &stderr
			_ = start.Run()
			packages, allocations, size := 0, 0, 0
			for lines := bufio.NewScanner(&stderr); lines.Scan(); {
				m := initLine.FindStringSubmatch(lines.Text())
				if m == nil {
					continue
				}
				bytes, errBytes := strconv.Atoi(m[2])
				allocs, errAllocs := strconv.Atoi(m[3])
				if errBytes != nil || errAllocs != nil {
					t.Fatalf("got %q, want numbers", lines.Text())
				}
				packages++
				allocations += allocs
				size += bytes
				if strings.HasPrefix(m[1], module) && allocs > ownAllocations {
					t.Errorf("package %s makes %d allocations before main, want at most %d", m[1], allocs, ownAllocations)
				}
			}
			t.Logf("%d packages make %d allocations of %d bytes before main", packages, allocations, size)
			if packages < 10 {
				t.Fatalf("got words of %d packages, want those of all: %s", packages, stderr.String())
			}
			if allocations > startAllocations || size > startBytes {
				t.Errorf("got %d allocations of %d bytes before main, want at most %d of %d", allocations, size, startAllocations, startBytes)
			}
		})
	}
}
