package sandbox_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/parhost/parhost/host/sandbox"
)

// freeze keeps processes from dying, even after SIGKILL, until thaw is called. A dead network disk has the same effect.
func freeze(t *testing.T, pids ...int) (thaw func()) {
	t.Helper()
	group := filepath.Join("/sys/fs/cgroup/freezer", fmt.Sprintf("parhost-test-%d", os.Getpid()))
	if err := os.Mkdir(group, 0o755); err != nil { // cgroup version 2 ends frozen processes that are killed
		t.Skipf("no process can be kept from ending here: %v", err)
	}
	write := func(file, text string) {
		if err := os.WriteFile(filepath.Join(group, file), []byte(text), 0); err != nil {
			t.Error(err)
		}
	}
	for _, pid := range pids {
		write("cgroup.procs", strconv.Itoa(pid))
	}
	write("freezer.state", "FROZEN")
	t.Cleanup(func() {
		write("freezer.state", "THAWED")
		sandbox.RemoveCgroup(group)
	})
	return func() { write("freezer.state", "THAWED") }
}

// ownBoxes returns the cgroup folders of the boxes that this process has made.
func ownBoxes(t *testing.T) (boxes []string) {
	t.Helper()
	parents, err := sandbox.CgroupFolders()
	if err != nil {
		t.Fatal(err)
	}
	for _, parent := range parents {
		found, _ := filepath.Glob(filepath.Join(parent, fmt.Sprintf("%s*-%x-*", sandbox.BoxPrefix, os.Getpid())))
		boxes = append(boxes, found...)
	}
	return boxes
}

// A worker with the host's rights can make cgroups below its own. When the worker ends, they are removed and the processes in them are killed.
func TestCgroupsOfAWorkersOwnAreRemoved(t *testing.T) {
	b := policyBox(t, sandbox.Policy{Level: sandbox.Off, PIDs: 50, MemoryBytes: 1 << 30})
	w := start(t, b, nil, "wait")
	made := 0
	for _, box := range ownBoxes(t) {
		own, _ := filepath.Glob(filepath.Join(box, "*", "cgroup.procs"))
		for _, procs := range own {
			for n := range 20 {
				deep := filepath.Join(filepath.Dir(procs), strconv.Itoa(n), "a", "b")
				if err := os.MkdirAll(deep, 0o755); err != nil {
					t.Skip("no cgroup can be made here: ", err)
				}
				made++
			}
		}
	}
	if made == 0 {
		t.Skip("workers have no cgroup here")
	}
	w.launch.Close()
	<-w.ended
	b.Close()
	if left := ownBoxes(t); len(left) > 0 {
		t.Errorf("got %q left, want none", left)
		for _, f := range left {
			sandbox.RemoveCgroup(f)
		}
	}
}

// All cgroups of all workers share one deadline. A process that does not die delays no other worker, and delays the box once.
func TestProcessesThatDoNotEndHoldUpABoxOnce(t *testing.T) {
	const workers = 4
	for name, recovers := range map[string]bool{"stuck until the end": false, "stuck for some time": true} {
		t.Run(name, func(t *testing.T) {
			b := policyBox(t, sandbox.Policy{Level: sandbox.Off, PIDs: 50, MemoryBytes: 1 << 30})
			var pids []int
			var started []*worker
			for range workers {
				w := start(t, b, nil, "wait")
				started, pids = append(started, w), append(pids, w.cmd.Process.Pid)
			}
			thaw := freeze(t, pids...)
			begun := time.Now()
			for _, w := range started {
				w.launch.Close()
			}
			closed := time.Since(begun)
			if recovers {
				thaw()
			}
			b.Close()
			// With one second for each of the fifteen cgroups, this would take fifteen seconds.
			if all := time.Since(begun); all > 8*time.Second {
				t.Errorf("closing %d launches took %v, and with the box %v, want no more than a grace", workers, closed, all)
			}
			left := ownBoxes(t)
			if (len(left) == 0) != recovers {
				t.Errorf("got %q left, want none: %t", left, recovers)
			}
			thaw()
			for _, w := range started {
				<-w.ended
			}
			for _, f := range left {
				workers, _ := filepath.Glob(filepath.Join(f, "*", "cgroup.procs"))
				for _, procs := range workers {
					sandbox.RemoveCgroup(filepath.Dir(procs))
				}
				sandbox.RemoveCgroup(f)
			}
		})
	}
}

// Cgroups of a killed host whose processes do not die delay the next host once. A later host removes them.
func TestASweepOfProcessesThatDoNotEndIsBounded(t *testing.T) {
	parent, err := sandbox.CgroupOf("pids")
	if err != nil {
		t.Skip(err)
	}
	var space unix.Stat_t
	if err := unix.Stat("/proc/self/ns/pid", &space); err != nil {
		t.Fatal(err)
	}
	dead := exec.Command("true")
	if err := dead.Run(); err != nil {
		t.Fatal(err)
	}
	box := filepath.Join(parent, fmt.Sprintf("%s%x-%x-1-1", sandbox.BoxPrefix, space.Ino, dead.Process.Pid))
	var pids []int
	var stuck []*exec.Cmd
	for i := range 12 {
		cmd := exec.Command("sleep", "600")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		folder := filepath.Join(box, strconv.Itoa(i))
		pid := []byte(strconv.Itoa(cmd.Process.Pid))
		if err := errors.Join(os.MkdirAll(folder, 0o755), os.WriteFile(filepath.Join(folder, "cgroup.procs"), pid, 0)); err != nil {
			t.Error(err)
		}
		stuck, pids = append(stuck, cmd), append(pids, cmd.Process.Pid)
	}
	t.Cleanup(func() {
		for _, cmd := range stuck {
			_, _ = cmd.Process.Kill(), cmd.Wait()
		}
	})
	thaw := freeze(t, pids...)
	begun := time.Now()
	policyBox(t, sandbox.Policy{Level: sandbox.Off, PIDs: 50}).Close()
	// With one second for each of the thirteen cgroups, this would take thirteen seconds.
	if took := time.Since(begun); took > 7*time.Second {
		t.Errorf("a new box took %v, want it not to wait for each folder", took)
	}
	if _, err := os.Stat(box); err != nil {
		t.Errorf("with processes in it: got %v, want it left", err)
	}
	thaw()
	policyBox(t, sandbox.Policy{Level: sandbox.Off, PIDs: 50}).Close()
	if _, err := os.Stat(box); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after the next sweep: got %v, want it removed", err)
	}
}
