package host_test

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/parhost/parhost/host"
)

// footprint is what this process holds of the system.
type footprint struct {
	files    map[string]string // descriptors, and what each is
	children []string
	temp     []string // what lies in the folder for temporary files
	arenas   int      // memory of workers that is mapped
	ooms     int      // processes of the machine that the kernel has killed for want of memory
}

func takeFootprint(t *testing.T) footprint {
	t.Helper()
	f := footprint{files: map[string]string{}, children: children(t), arenas: mappings(t, "parhost-"), ooms: outOfMemoryDeaths(t)}
	for _, fd := range names(t, "/proc/self/fd") {
		if target, err := os.Readlink("/proc/self/fd/" + fd); err == nil { // not the one that was open to list them
			f.files[fd] = target
		}
	}
	f.temp = names(t, os.TempDir())
	return f
}

// checkLeft fails the test for what is there that was not there before, and for processes that bear the mark.
func checkLeft(t *testing.T, before footprint, mark string) {
	t.Helper()
	now := takeFootprint(t)
	more := maps.Clone(now.files)
	for fd := range before.files {
		delete(more, fd)
	}
	if len(now.files) > len(before.files) {
		t.Errorf("file descriptors: got %d more: %v", len(now.files)-len(before.files), more)
	}
	if d := without(now.children, before.children); len(d) > 0 {
		t.Errorf("child processes: got %v, want none", d)
	}
	if d := without(now.temp, before.temp); len(d) > 0 {
		t.Errorf("temporary files: got %v, want none", d)
	}
	if now.arenas > before.arenas {
		t.Errorf("mapped memory of workers: got %d, want %d as before", now.arenas, before.arenas)
	}
	// What was killed a moment ago, and was nobody's child here, may take another one to be gone.
	deadline := time.Now().Add(2 * time.Second)
	for tick := time.NewTicker(10 * time.Millisecond); len(marked(t, mark)) > 0; <-tick.C {
		if time.Now().After(deadline) {
			for pid, line := range marked(t, mark) {
				t.Errorf("process %d of this test is left: %s", pid, line)
				_ = unix.Kill(pid, unix.SIGKILL)
			}
			return
		}
	}
}

// checkGone fails the test if a process that bears the mark is left.
func checkGone(t *testing.T, mark string) {
	t.Helper()
	for pid, line := range marked(t, mark) {
		t.Errorf("process %d of this test is left: %s", pid, line)
		_ = unix.Kill(pid, unix.SIGKILL)
	}
}

// checkGoroutines fails the test at its end, when its pools are closed, for goroutines that are there and were not there before.
func checkGoroutines(t *testing.T) {
	t.Helper()
	known := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, known) })
}

// outOfMemoryDeaths counts what the kernel has killed for want of memory. It does not say whose deaths they were, so that one elsewhere on the
// machine makes a host take a SIGKILL for one.
func outOfMemoryDeaths(t *testing.T) int {
	t.Helper()
	b, err := os.ReadFile("/proc/vmstat")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), "\noom_kill ")
	line, _, _ := strings.Cut(rest, "\n")
	n, err := strconv.Atoi(line)
	if err != nil {
		t.Fatalf("oom_kill in /proc/vmstat: %v", err)
	}
	return n
}

// mistaken reports whether an item is said to have been out of memory because of a death elsewhere.
func (f *footprint) mistaken(t *testing.T, e *host.ItemError) bool {
	t.Helper()
	return e != nil && e.Kind == host.KindOutOfMemory && e.Signal == "SIGKILL" && outOfMemoryDeaths(t) > f.ooms
}

func without(all, known []string) []string {
	return slices.DeleteFunc(slices.Clone(all), func(s string) bool { return slices.Contains(known, s) })
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// processes calls f with the number of each process there is.
func processes(t *testing.T, f func(pid int)) {
	t.Helper()
	for _, name := range names(t, "/proc") {
		if pid, err := strconv.Atoi(name); err == nil {
			f(pid)
		}
	}
}

// children are the processes that this one has to wait for.
func children(t *testing.T) []string {
	t.Helper()
	var found []string
	processes(t, func(pid int) {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return // gone
		}
		name, rest, _ := strings.Cut(string(b), ") ") // proc_pid_stat(5): the state follows, then the parent
		if fields := strings.Fields(rest); len(fields) > 1 && fields[1] == strconv.Itoa(os.Getpid()) {
			found = append(found, fmt.Sprintf("%s), state %s", name, fields[0]))
		}
	})
	return found
}

// marked are the processes that have a test's mark in their environment.
func marked(t *testing.T, mark string) map[int]string {
	t.Helper()
	found := map[int]string{}
	processes(t, func(pid int) {
		environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		if err == nil && slices.ContainsFunc(bytes.Split(environ, []byte{0}), func(kv []byte) bool { return string(kv) == markEnv+"="+mark }) {
			line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
			found[pid] = string(bytes.ReplaceAll(line, []byte{0}, []byte(" ")))
		}
	})
	return found
}

// resident returns the bytes of memory of this process: its own, and those that it shares with workers. If tidy is set it gives back what
// it does not need first.
func resident(t *testing.T, tidy bool) (own, shared int) {
	t.Helper()
	if tidy {
		debug.FreeOSMemory()
	}
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		key, value, _ := strings.Cut(line, ":")
		n, _ := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(value), " kB"))
		switch key {
		case "RssAnon":
			own = n << 10
		case "RssShmem":
			shared = n << 10
		}
	}
	return own, shared
}
