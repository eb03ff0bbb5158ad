//go:build !race

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/parhost/parhost/internal/cgroup"
	"github.com/parhost/parhost/sdk"
)

func init() {
	testWorkloads = append(testWorkloads, sdk.Func("parrot", func(_ context.Context, x json.RawMessage) (json.RawMessage, error) { return x, nil }))
}

// memoryGroup makes a cgroup with a memory limit below this process's own. It skips the test if that is not possible.
func memoryGroup(t *testing.T, limit int) (dir string) {
	t.Helper()
	groups, err := cgroup.Own()
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range groups {
		if !g.Has("memory") {
			continue
		}
		folder, _ := g.Folder(g.Path)
		dir, file := filepath.Join(folder, fmt.Sprintf("parhost-test-%d", os.Getpid())), "memory.max"
		if g.Version == 1 {
			file = "memory.limit_in_bytes"
		}
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Skip("no cgroup can be made here: ", err)
		}
		t.Cleanup(func() {
			if err := os.Remove(dir); err != nil {
				t.Error(err)
			}
		})
		if err := os.WriteFile(filepath.Join(dir, file), fmt.Append(nil, limit), 0o600); err != nil {
			t.Skip("no memory limit can be set here: ", err)
		}
		return dir
	}
	t.Skip("no memory cgroup is mounted")
	return ""
}

// The command must stay within the memory limit of its cgroup, which its workers share, and must say which item is too large for it.
func TestTheCommandKeepsToTheMemoryOfItsCgroup(t *testing.T) {
	const limit = 200 << 20
	for name, c := range map[string]struct {
		size, items, code int
		says              string
	}{
		"items that fit":    {10 << 20, 12, exitOK, ""},
		"one that does not": {30 << 20, 1, exitUsage, "line 1 is longer than 13107200 bytes, a quarter of the 52428800 bytes that parhost may take itself"},
	} {
		t.Run(name, func(t *testing.T) {
			group := memoryGroup(t, limit)
			input := filepath.Join(t.TempDir(), "items")
			line := `"` + strings.Repeat("x", c.size) + "\"\n"
			if err := os.WriteFile(input, []byte(strings.Repeat(line, c.items)), 0o600); err != nil {
				t.Fatal(err)
			}
			cmd := command(t, "-p", "parrot", "-j", "2", "--input", input, "-o", "values", "--progress", "none")
			link := filepath.Join(t.TempDir(), "parhost") // a link of this name makes the test binary the command
			if err := os.Symlink(cmd.Path, link); err != nil {
				t.Fatal(err)
			}
			cmd.Args = append([]string{"sh", "-c", `echo $$ >"$0/cgroup.procs" && exec "$@"`, group, link}, cmd.Args[1:]...)
			cmd.Path = "/bin/sh"
			var stderr bytes.Buffer
			lines := counter{}
			cmd.Stdout, cmd.Stderr = &lines, &stderr
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			if code := exitOf(t, cmd); code != c.code || !strings.Contains(stderr.String(), c.says) {
				t.Errorf("got exit code %d and %q, want %d and %q", code, &stderr, c.code, c.says)
			}
			if want := c.items * len(line); c.code == exitOK && lines.n != want {
				t.Errorf("got %d bytes of results, want %d", lines.n, want)
			}
		})
	}
}

// The command holds each item twice (as read, and where its worker reads it), each result twice, and the line to write. Together with garbage, this
// must be less than four times what the workers hold at once.
func TestTheCommandTakesAFewTimesTheItemsUnderWay(t *testing.T) {
	const size, items, workers = 48 << 20, 8, 2
	const most = 4 * workers * (size + size) // an item and its result, each of this size
	line := `"` + strings.Repeat("x", size) + "\"\n"
	input := filepath.Join(t.TempDir(), "items")
	if err := os.WriteFile(input, []byte(strings.Repeat(line, items)), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := command(t, "-p", "parrot", "-j", fmt.Sprint(workers), "--input", input, "-o", "values", "--progress", "none")
	link := filepath.Join(t.TempDir(), "parhost") // a link of this name makes the test binary the command
	if err := os.Symlink(cmd.Path, link); err != nil {
		t.Fatal(err)
	}
	cmd.Path = link
	for _, kv := range os.Environ() { // the user's own settings of the garbage collector would change the result
		if !strings.HasPrefix(kv, "GOGC=") && !strings.HasPrefix(kv, "GOMEMLIMIT=") {
			cmd.Env = append(cmd.Env, kv)
		}
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	read, peak := 0, int64(0)
	for block := make([]byte, 1<<20); err == nil; {
		var n int
		n, err = stdout.Read(block)
		read += n
		peak = max(peak, peakRSS(cmd.Process.Pid))
	}
	if code := exitOf(t, cmd); code != exitOK || read != items*len(line) {
		t.Fatalf("got exit code %d, %d bytes of results and %q, want %d and %d bytes", code, read, &stderr, exitOK, items*len(line))
	}
	if t.Logf("at most %d MiB", peak>>20); peak > most {
		t.Errorf("got up to %d MiB in memory, want at most %d", peak>>20, most>>20)
	}
}

// counter counts the bytes that are written to it.
type counter struct{ n int }

func (c *counter) Write(p []byte) (int, error) {
	c.n += len(p)
	return len(p), nil
}
