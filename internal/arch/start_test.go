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
			allocations, size := 0, 0
			packages := initialized(t, exec.Command(path)) // it says that it is a plugin, and ends
			for _, p := range packages {
				allocations += p.allocations
				size += p.bytes
				if strings.HasPrefix(p.path, module) && p.allocations > ownAllocations {
					t.Errorf("package %s makes %d allocations before main, want at most %d", p.path, p.allocations, ownAllocations)
				}
			}
			t.Logf("%d packages make %d allocations of %d bytes before main", len(packages), allocations, size)
			if len(packages) < 10 {
				t.Fatalf("got words of the packages %v, want those of all", packages)
			}
			if allocations > startAllocations || size > startBytes {
				t.Errorf("got %d allocations of %d bytes before main, want at most %d of %d", allocations, size, startAllocations, startBytes)
			}
		})
	}
}

// start is what one package did when it was initialized.
type start struct {
	path               string
	bytes, allocations int
}

// initialized runs a program to its end, and returns the packages that it initialized, in this order.
func initialized(t *testing.T, cmd *exec.Cmd) []start {
	t.Helper()
	cmd.Env = append(os.Environ(), append(cmd.Env, "GODEBUG=inittrace=1")...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	_ = cmd.Run()
	var starts []start
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
		starts = append(starts, start{m[1], bytes, allocs})
	}
	return starts
}
