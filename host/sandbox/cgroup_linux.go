package sandbox

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The controllers that limits need. core stands for what version 2 offers without any controller: cgroup.kill.
const (
	memory = "memory"
	pids   = "pids"
	cpu    = "cpu"
	core   = ""
)

// cpuPeriod is the period for which a CPU quota is counted, in microseconds. It is the kernel's default.
const cpuPeriod = 100_000

// cgroups are the cgroup folders of one box. Each worker has a folder below them.
type cgroups struct {
	used []hierarchy // in each, parent is the box's own folder

	mu   sync.Mutex
	left []string // workers' folders that still had processes when they were to be removed
}

// sweepTime limits how long a new box spends on removing cgroups that killed hosts have left behind.
const sweepTime = time.Second

// openCgroups makes a box's folders in the hierarchies whose controllers are wanted and usable. It returns the reason for each wanted controller that
// cannot be used. A spared controller is used only in version 2, because a process has to be moved into a cgroup of version 1, which is slow.
func openCgroups(name, below string, wanted, spared []string) (*cgroups, map[string]error, error) {
	all, err := hierarchies(below)
	if err != nil {
		return nil, nil, err
	}
	refused := map[string]error{}
	for _, c := range wanted {
		refused[c] = fmt.Errorf("no cgroup hierarchy has the controller %s", c)
	}
	g := &cgroups{}
	swept := time.Now().Add(sweepTime)
	for _, h := range all {
		sweepCgroups(h.parent, swept)
		use := slices.DeleteFunc(slices.Clone(h.controllers), func(c string) bool {
			return !slices.Contains(wanted, c) || refused[c] == nil || h.version == 1 && slices.Contains(spared, c)
		})
		err := h.err
		if err == nil && h.version == 2 && len(use) > 0 {
			err = passOn(h.parent, use)
		}
		folder := filepath.Join(h.parent, name)
		if err == nil && (len(use) > 0 || h.version == 2) {
			err = os.Mkdir(folder, 0o755)
		}
		if err == nil && h.version == 2 && len(use) > 0 {
			if err = passOn(folder, use); err != nil {
				removeCgroups(time.Time{}, folder)
			}
		}
		for _, c := range use {
			if refused[c] = err; err == nil {
				delete(refused, c)
			}
		}
		if err == nil && (len(use) > 0 || h.version == 2) {
			g.used = append(g.used, hierarchy{version: h.version, controllers: use, parent: folder})
		}
	}
	return g, refused, nil
}

// remove removes the cgroups of a worker whose processes have been killed, and those left over from earlier calls. It does not wait. A cgroup that
// still has processes is tried again when the next worker ends, and by close.
func (g *cgroups) remove(folders []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.left = removeCgroups(time.Time{}, slices.Concat(g.left, folders)...)
}

// close removes all folders. All workers must have ended. Folders that are left after the deadline are removed by the next host.
func (g *cgroups) close(deadline time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	folders := slices.Clone(g.left)
	for _, h := range g.used {
		folders = append(folders, h.parent)
	}
	g.left = removeCgroups(deadline, folders...)
}

// group holds the cgroup folders of one worker.
type group struct {
	box     *cgroups
	folders []hierarchy
	start   *os.File // the folder in which its process starts; nil if a process cannot be started in a cgroup
}

// open makes a worker's folders and writes its limits.
func (g *cgroups) open(name string, p *Policy) (*group, error) {
	w := &group{box: g}
	for _, h := range g.used {
		f := hierarchy{version: h.version, controllers: h.controllers, parent: filepath.Join(h.parent, name)}
		if err := os.Mkdir(f.parent, 0o755); err != nil {
			w.close()
			return nil, err
		}
		w.folders = append(w.folders, f)
		if err := f.limit(p); err != nil {
			w.close()
			return nil, err
		}
		if f.version == 2 && bornInCgroups() {
			fd, err := unix.Open(f.parent, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
			if err != nil {
				w.close()
				return nil, &os.PathError{Op: "open", Path: f.parent, Err: err}
			}
			w.start = os.NewFile(uintptr(fd), f.parent)
		}
	}
	return w, nil
}

// bornInCgroups reports whether a process can be started inside a cgroup (clone(2), CLONE_INTO_CGROUP). Version 2 can since Linux 5.7, unless this
// process is confined by a sandbox that forbids clone3. Otherwise the process is moved after its start. That takes 5 ms, unless another process was
// moved just before: the kernel waits until no CPU reads what it changes.
var bornInCgroups = sync.OnceValue(func() bool {
	args := struct{ flags, pidFD, childTID, parentTID, exitSignal, stack, stackSize, tls, setTID, setTIDSize, cgroup uint64 }{
		flags: unix.CLONE_INTO_CGROUP, cgroup: math.MaxInt32, // it is not a descriptor, so the call starts nothing
	}
	_, _, errno := unix.RawSyscall(unix.SYS_CLONE3, uintptr(unsafe.Pointer(&args)), unsafe.Sizeof(args), 0)
	return errno == unix.EBADF
})

// started closes the descriptor of the folder in which the process was started.
func (w *group) started() {
	if w.start != nil {
		_ = w.start.Close()
	}
}

// limit writes the limits that this folder's controllers enforce.
func (h *hierarchy) limit(p *Policy) error {
	type setting struct {
		file, value string
		optional    bool // the kernel may be built without it
	}
	var settings []setting
	bytes, quota := strconv.FormatInt(p.MemoryBytes, 10), strconv.Itoa(int(p.CPUs*cpuPeriod))
	for _, c := range h.controllers {
		switch {
		case c == memory && p.MemoryBytes > 0 && h.version == 1:
			settings = append(settings, setting{file: "memory.limit_in_bytes", value: bytes}, setting{"memory.memsw.limit_in_bytes", bytes, true})
		case c == memory && p.MemoryBytes > 0:
			settings = append(settings, setting{file: "memory.max", value: bytes}, setting{"memory.swap.max", "0", true}, setting{"memory.oom.group", "1", true})
		case c == pids && p.PIDs > 0:
			settings = append(settings, setting{file: "pids.max", value: strconv.Itoa(p.PIDs)})
		case c == cpu && p.CPUs > 0 && h.version == 1:
			settings = append(settings, setting{file: "cpu.cfs_period_us", value: strconv.Itoa(cpuPeriod)}, setting{file: "cpu.cfs_quota_us", value: quota})
		case c == cpu && p.CPUs > 0:
			settings = append(settings, setting{file: "cpu.max", value: quota + " " + strconv.Itoa(cpuPeriod)})
		}
	}
	for _, s := range settings {
		err := os.WriteFile(filepath.Join(h.parent, s.file), []byte(s.value), 0)
		if err != nil && (!s.optional || !errors.Is(err, fs.ErrNotExist)) {
			return err
		}
	}
	return nil
}

// holdsAll reports whether a process is in all of its folders from its start.
func (w *group) holdsAll() bool { return w.start != nil && len(w.folders) == 1 }

// add moves a process into the folders in which it was not started.
func (w *group) add(pid int) error {
	for _, f := range w.folders {
		if f.version == 2 && w.start != nil {
			continue
		}
		if err := os.WriteFile(filepath.Join(f.parent, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0); err != nil {
			return err
		}
	}
	return nil
}

// kill kills all processes of the cgroups, including those that have left their process group.
func (w *group) kill() {
	for _, f := range w.folders {
		killCgroup(f.parent)
	}
}

func (w *group) close() {
	w.started()
	var folders []string
	for _, f := range w.folders {
		folders = append(folders, f.parent)
	}
	w.box.remove(folders)
}

// read returns a number from a file: the only word of the file if key is empty, else the value of the line that begins with key. It returns 0 if
// there is none.
func (h *hierarchy) read(file, key string) int64 {
	b, err := os.ReadFile(filepath.Join(h.parent, file))
	if err != nil {
		return 0
	}
	for line := range bytes.Lines(b) {
		f := bytes.Fields(line)
		if n := len(f); n == 1 && key == "" || n == 2 && string(f[0]) == key {
			v, _ := strconv.ParseInt(string(f[n-1]), 10, 64) // a word such as max counts as 0
			return v
		}
	}
	return 0
}

// usage returns what the controllers have counted.
func (w *group) usage() Counters {
	var u Counters
	for _, f := range w.folders {
		for _, c := range f.controllers {
			switch {
			case c == memory && f.version == 1:
				u.MemoryPeak, u.OutOfMemory = f.read("memory.max_usage_in_bytes", ""), f.read("memory.oom_control", "oom_kill")
			case c == memory:
				u.MemoryPeak, u.OutOfMemory = f.read("memory.peak", ""), f.read("memory.events", "oom_kill")
			case c == pids:
				u.RefusedPIDs = f.read("pids.events", "max")
			case c == cpu && f.version == 1:
				u.Throttled, u.ThrottledFor = f.read("cpu.stat", "nr_throttled"), time.Duration(f.read("cpu.stat", "throttled_time"))
			case c == cpu:
				u.Throttled, u.ThrottledFor = f.read("cpu.stat", "nr_throttled"), time.Duration(f.read("cpu.stat", "throttled_usec"))*time.Microsecond
			}
		}
	}
	return u
}

// killCgroup kills all processes in a folder.
func killCgroup(folder string) {
	if os.WriteFile(filepath.Join(folder, "cgroup.kill"), []byte("1"), 0) == nil { // Linux 5.14, version 2
		return
	}
	// Linux 5.2, version 2: a frozen process cannot fork, but SIGKILL still ends it.
	_ = os.WriteFile(filepath.Join(folder, "cgroup.freeze"), []byte("1"), 0)
	for range 100 { // a worker that forks all the time soon reaches its limit of processes
		b, err := os.ReadFile(filepath.Join(folder, "cgroup.procs"))
		if err != nil || len(b) == 0 {
			return
		}
		for line := range strings.Lines(string(b)) {
			if pid, err := strconv.Atoi(strings.TrimSpace(line)); err == nil && pid > 1 {
				_ = unix.Kill(pid, unix.SIGKILL)
			}
		}
	}
}

// removeBelow removes the cgroups that a worker has made below its own, the deepest first, and kills the processes in them. A worker can make cgroups
// only at level off, where it has the host's rights.
func removeBelow(folder string, deadline time.Time) {
	var below []string
	_ = filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		switch {
		case !time.Now().Before(deadline):
			return fs.SkipAll
		case err == nil && d.IsDir() && path != folder:
			below = append(below, path)
		}
		return nil // a folder that cannot be read has been removed, or is left
	})
	for _, f := range slices.Backward(below) {
		if !time.Now().Before(deadline) {
			return
		}
		if errors.Is(unix.Rmdir(f), unix.EBUSY) {
			killCgroup(f)
		}
	}
}

// removeCgroups removes folders in the given order, and returns those that are left. It tries each folder once. Until the deadline, which all folders
// share, it then kills the processes in the remaining folders and tries again. SIGKILL does not end a process in an uninterruptible system call, for
// example on a dead network disk.
func removeCgroups(deadline time.Time, folders ...string) (left []string) {
	for wait := time.Millisecond; ; wait *= 2 {
		left = slices.DeleteFunc(slices.Clone(folders), func(f string) bool { return !errors.Is(unix.Rmdir(f), unix.EBUSY) })
		if len(left) == 0 || !time.Now().Before(deadline) {
			return left
		}
		for _, f := range left {
			if time.Now().Before(deadline) {
				killCgroup(f)
				removeBelow(f, deadline)
			}
		}
		time.Sleep(min(wait, time.Until(deadline)))
		folders = left
	}
}
