//go:build linux

package sandbox_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/parhost/parhost/host/sandbox"
)

// holdings counts the resources that a host can leak.
func holdings(t *testing.T) map[string]int {
	t.Helper()
	counts := map[string]int{}
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	counts["descriptors"] = len(fds)
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	counts["mounts"] = bytes.Count(mounts, []byte("\n"))
	for _, box := range boxFolders(t, os.TempDir(), os.Getpid()) {
		_ = filepath.WalkDir(box, func(_ string, d os.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				counts["folders in "+filepath.Dir(box)]++
			}
			return nil
		})
	}
	children, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/children", os.Getpid()))
	if err == nil { // children of the first thread; the kernel may have been built without this file
		counts["children"] = len(strings.Fields(string(children)))
	}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		b, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
		if len(fields) > 1 && fields[1] == fmt.Sprint(os.Getpid()) {
			counts["processes"]++
		}
	}
	return counts
}

// A host that starts and ends many workers holds no more resources afterwards.
func TestNothingLeaks(t *testing.T) {
	rounds := 200
	if testing.Short() {
		rounds = 20
	}
	plugin, err := hostile()
	if err != nil {
		t.Fatal(err)
	}
	spawn := spawner(t)
	for _, level := range []sandbox.Level{sandbox.Basic, sandbox.Strict} {
		t.Run(level.String(), func(t *testing.T) {
			round := func(b *sandbox.Box, n int) {
				cmd := exec.Command(plugin, "exit", "7")
				if n%2 == 0 {
					cmd = exec.Command(plugin, "wait")
				}
				if n%10 == 0 {
					cmd.Dir = "/nowhere" // makes the start fail
				}
				cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
				w := &worker{t: t, cmd: cmd, ended: make(chan struct{})}
				var err error
				if w.launch, err = b.Wrap(cmd, n); err != nil {
					t.Fatal(err)
				}
				if err := spawn(cmd.Start); err != nil {
					w.launch.Close()
					if n%10 != 0 {
						t.Fatal(err)
					}
					return
				}
				go func() {
					defer close(w.ended)
					_ = cmd.Wait()
				}()
				err = w.launch.Confirm(t.Context())
				w.bury()
				w.launch.Close()
				if (err != nil) != (n%10 == 0) {
					t.Fatalf("round %d: got %v", n, err)
				}
			}
			before := holdings(t)
			b := policyBox(t, sandbox.Policy{Level: level})
			round(b, 1)
			within(5*time.Second, func() bool { // dropped folders are removed in the background
				dropped, _ := filepath.Glob(filepath.Join(os.TempDir(), fmt.Sprintf("%s%d-*", sandbox.BoxPrefix, os.Getpid()), "gone-*"))
				return len(dropped) == 0
			})
			during := holdings(t)
			for n := range rounds {
				round(b, n)
			}
			diff := ""
			if !within(5*time.Second, func() bool { diff = cmp.Diff(during, holdings(t)); return diff == "" }) {
				t.Errorf("after %d rounds (-before +after):\n%s", rounds, diff)
			}
			b.Close()
			if diff := cmp.Diff(before, holdings(t)); diff != "" {
				t.Errorf("after Close (-before +after):\n%s", diff)
			}
		})
	}
}
