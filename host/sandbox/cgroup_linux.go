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

// The controllers that limits need, and what is there in version 2 whether or not one is: cgroup.kill.
const (
	memory = "memory"
	pids   = "pids"
	cpu    = "cpu"
	core   = ""
)

// cpuPeriod is the period in which a share of the CPUs is counted, in microseconds. It is the kernel's own.
const cpuPeriod = 100_000

// hierarchy is one mount of cgroups, and the folder there below which a box makes its own.
type hierarchy struct {
	version     int
	controllers []string // of those above, that can be used
	parent      string
	err         error // why it cannot be used
}

// hierarchies finds the mounts, and the place of the host in each. below is Policy.CgroupParent.
func hierarchies(below string) ([]hierarchy, error) {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil, err
	}
	var found []hierarchy
	for line := range strings.Lines(string(mounts)) {
		// 36 35 98:0 ROOT POINT OPTIONS [optional fields] - TYPE SOURCE SUPEROPTIONS (proc_pid_mountinfo(5))
		before, after, _ := strings.Cut(line, " - ")
		left, right := strings.Fields(before), strings.Fields(after)
		if len(left) < 5 || len(right) < 3 {
			continue
		}
		h := hierarchy{version: 2}
		switch right[0] {
		case "cgroup2":
		case "cgroup":
			h.version = 1
			options := strings.Split(right[2], ",")
			for _, c := range []string{memory, pids, cpu} {
				if slices.Contains(options, c) {
					h.controllers = append(h.controllers, c)
				}
			}
			if len(h.controllers) == 0 {
				continue
			}
		default:
			continue
		}
		root, point := left[3], left[4]
		place := below
		if place == "" {
			place = h.ownPlace(string(own))
			if rest, ok := strings.CutPrefix(place, root); ok && (rest == "" || rest[0] == '/') { // a mount of a part
				place = rest
			}
		}
		h.parent = filepath.Join(point, place)
		if unix.Access(h.parent, unix.W_OK) != nil {
			h.err = fmt.Errorf("%s cannot be written to", h.parent)
		}
		if h.version == 2 {
			h.controllers = delegated(h.parent)
		}
		found = append(found, h)
	}
	return found, nil
}

// ownPlace is the host's cgroup in this hierarchy, as /proc/self/cgroup says: "4:memory:/path", or "0::/path" for version 2.
func (h *hierarchy) ownPlace(own string) string {
	for line := range strings.Lines(own) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(f) < 3 {
			continue
		}
		switch {
		case h.version == 2 && f[0] == "0":
			return strings.TrimSuffix(f[2], "/"+hostFolder) // where the workers of its other boxes are
		case h.version == 1 && slices.Contains(strings.Split(f[1], ","), h.controllers[0]):
			return f[2]
		}
	}
	return "/"
}

// delegated are the controllers that a folder of version 2 could pass on.
func delegated(folder string) []string {
	b, err := os.ReadFile(filepath.Join(folder, "cgroup.controllers"))
	if err != nil {
		return nil
	}
	return slices.DeleteFunc(strings.Fields(string(b)), func(c string) bool { return c != memory && c != pids && c != cpu })
}

// hostFolder is where a host moves that is in the way of its own workers.
const hostFolder = "parhost-host"

// passOn lets the children of a version 2 folder use controllers. A folder that does so must not hold processes itself (cgroups(7), "no
// internal processes" rule), so a host that is alone there moves to a folder of its own.
func passOn(folder string, controllers []string) error {
	missing := slices.DeleteFunc(slices.Clone(controllers), func(c string) bool { return passes(folder, c) })
	if len(missing) == 0 {
		return nil
	}
	control, order := filepath.Join(folder, "cgroup.subtree_control"), []byte("+"+strings.Join(missing, " +"))
	err := os.WriteFile(control, order, 0)
	if !errors.Is(err, unix.EBUSY) {
		return err
	}
	if err := vacate(folder); err != nil {
		return err
	}
	return os.WriteFile(control, order, 0)
}

// passes reports whether a version 2 folder passes on a controller.
func passes(folder, controller string) bool {
	b, err := os.ReadFile(filepath.Join(folder, "cgroup.subtree_control"))
	return err == nil && slices.Contains(strings.Fields(string(b)), controller)
}

// passable says why passOn could not do its work, without doing anything.
func passable(folder, controller string) error {
	if passes(folder, controller) {
		return nil
	}
	if _, err := os.Stat(filepath.Join(folder, "cgroup.type")); errors.Is(err, fs.ErrNotExist) {
		return nil // the root of all, which may hold processes
	}
	_, err := inhabitants(folder)
	return err
}

// inhabitants are the processes of a folder, if they are this one and those that descend from it. Others are not its to move.
func inhabitants(folder string) ([]int, error) {
	b, err := os.ReadFile(filepath.Join(folder, "cgroup.procs"))
	if err != nil {
		return nil, err
	}
	var all []int
	for word := range strings.FieldsSeq(string(b)) {
		pid, err := strconv.Atoi(word)
		if err != nil {
			return nil, err
		}
		if !descends(pid) {
			return nil, fmt.Errorf("%s holds a process that is not of this host, %d: %w", folder, pid, unix.EBUSY)
		}
		all = append(all, pid)
	}
	return all, nil
}

// descends reports whether a process is this one, or comes from it, or is gone.
func descends(pid int) bool {
	for pid > 1 {
		if pid == os.Getpid() {
			return true
		}
		parent, err := stat(pid, parentField)
		if err != nil {
			return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH)
		}
		pid = int(parent)
	}
	return pid == os.Getpid() // 0 is one of another namespace
}

// vacateRounds bounds how often vacate looks whether somebody is left: who was just being started.
const vacateRounds = 10

// vacate moves all processes of a folder to a folder of their own below it. They do not notice.
func vacate(folder string) error {
	leaf := filepath.Join(folder, hostFolder)
	for range vacateRounds {
		all, err := inhabitants(folder)
		if err != nil || len(all) == 0 {
			return err
		}
		if err := os.Mkdir(leaf, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		for _, pid := range all {
			err := os.WriteFile(filepath.Join(leaf, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0)
			if err != nil && !errors.Is(err, unix.ESRCH) {
				return err
			}
		}
	}
	return nil // and the kernel says what it thinks of it
}

// cgroupHint says what to change for a limit to be held.
func cgroupHint(err error) string {
	if errors.Is(err, unix.EBUSY) { // as in a session's shell
		return "start the host in a cgroup of its own: systemd-run --scope -p Delegate=yes, with --user if it is not root"
	}
	return "run the host as root, or with: systemd-run --user --scope -p Delegate=yes"
}

// cgroups are the folders of one box, with one below for each worker.
type cgroups struct {
	used []hierarchy // whose parent is the box's own folder
}

// openCgroups makes a box's folders where wanted controllers can be used, and returns those that cannot, with the reason. Those that are
// spared are used only if a process can be born there.
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
	for _, h := range all {
		sweepCgroups(h.parent)
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
				removeCgroup(folder)
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

// close removes the folders. The workers' must be gone.
func (g *cgroups) close() {
	for _, h := range g.used {
		removeCgroup(h.parent)
	}
}

// group are the folders of one worker.
type group struct {
	folders []hierarchy
	birth   *os.File // the one that its process is born in, until it is; nil if there is none
}

// open makes a worker's folders, with its limits.
func (g *cgroups) open(name string, p *Policy) (*group, error) {
	w := &group{}
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
			w.birth = os.NewFile(uintptr(fd), f.parent)
		}
	}
	return w, nil
}

// bornInCgroups reports whether a process can be started in a cgroup (clone(2), CLONE_INTO_CGROUP): in version 2 since Linux 5.7, unless
// whoever confines this process forbids clone3. To move one that has been started takes 5 ms, unless that was done just before: the kernel
// waits until no CPU looks at what it changes.
var bornInCgroups = sync.OnceValue(func() bool {
	args := struct{ flags, pidFD, childTID, parentTID, exitSignal, stack, stackSize, tls, setTID, setTIDSize, cgroup uint64 }{
		flags: unix.CLONE_INTO_CGROUP, cgroup: math.MaxInt32, // which is no descriptor, so that nothing is started
	}
	_, _, errno := unix.RawSyscall(unix.SYS_CLONE3, uintptr(unsafe.Pointer(&args)), unsafe.Sizeof(args), 0)
	return errno == unix.EBADF
})

// born forgets the folder for the birth.
func (w *group) born() {
	if w.birth != nil {
		_ = w.birth.Close()
	}
}

// limit writes the limits that this folder's controllers hold.
func (h *hierarchy) limit(p *Policy) error {
	type setting struct {
		file, value string
		optional    bool // kernels are built without it
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

// holdsAll reports whether a process is in all folders from its birth on.
func (w *group) holdsAll() bool { return w.birth != nil && len(w.folders) == 1 }

// add puts a process into the folders that it was not born in.
func (w *group) add(pid int) error {
	for _, f := range w.folders {
		if f.version == 2 && w.birth != nil {
			continue
		}
		if err := os.WriteFile(filepath.Join(f.parent, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0); err != nil {
			return err
		}
	}
	return nil
}

// kill kills all processes of the group, wherever they hide from the group of processes.
func (w *group) kill() {
	for _, f := range w.folders {
		killCgroup(f.parent)
	}
}

func (w *group) close() {
	w.born()
	for _, f := range w.folders {
		removeCgroup(f.parent)
	}
}

// read reads a number: a whole file's, or that of a line that begins with key. It is 0 where there is none.
func (h *hierarchy) read(file, key string) int64 {
	b, err := os.ReadFile(filepath.Join(h.parent, file))
	if err != nil {
		return 0
	}
	for line := range bytes.Lines(b) {
		f := bytes.Fields(line)
		if n := len(f); n == 1 && key == "" || n == 2 && string(f[0]) == key {
			v, _ := strconv.ParseInt(string(f[n-1]), 10, 64) // a word, such as max, counts nothing
			return v
		}
	}
	return 0
}

// usage reads what has been counted.
func (w *group) usage() Usage {
	var u Usage
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

// killCgroup kills all that is in a folder.
func killCgroup(folder string) {
	if os.WriteFile(filepath.Join(folder, "cgroup.kill"), []byte("1"), 0) == nil { // Linux 5.14, version 2
		return
	}
	for range 100 { // who forks all the time is at his limit soon
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

// removeCgroup removes a folder. Its processes are killed; they may still be on their way out.
func removeCgroup(folder string) {
	for wait := time.Millisecond; ; wait *= 2 {
		err := unix.Rmdir(folder)
		if !errors.Is(err, unix.EBUSY) || wait > time.Second {
			return
		}
		killCgroup(folder)
		time.Sleep(wait)
	}
}

// boxPrefix is what the names of a box's folders begin with.
const boxPrefix = "parhost-box-"

// boxName names a box after this process: after what it is not to be taken for another, in no other container either.
func boxName(number uint64) (string, error) {
	start, err := stat(os.Getpid(), startField)
	if err != nil {
		return "", err
	}
	space, err := pidSpace()
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s%x-%x-%x-%x", boxPrefix, space, os.Getpid(), start, number), nil
}

// pidSpace is the number of this process's namespace of process ids.
func pidSpace() (uint64, error) {
	var st unix.Stat_t
	if err := unix.Stat("/proc/self/ns/pid", &st); err != nil {
		return 0, &os.PathError{Op: "stat", Path: "/proc/self/ns/pid", Err: err}
	}
	return st.Ino, nil
}

// Fields of proc_pid_stat(5), by their numbers there.
const (
	parentField = 4
	startField  = 22 // in ticks since the machine was started
)

// stat reads one number of what the kernel says about a process.
func stat(pid, field int) (uint64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:])) // the name, which is the second, may hold anything
	if len(fields) < field-2 {
		return 0, fmt.Errorf("/proc/%d/stat: %d fields after the name, want %d", pid, len(fields), field-2)
	}
	return strconv.ParseUint(fields[field-3], 10, 64)
}

// sweepCgroups removes what hosts left behind that were killed, with the processes in it.
func sweepCgroups(parent string) {
	boxes, _ := filepath.Glob(filepath.Join(parent, boxPrefix+"*")) // the pattern is well formed
	for _, box := range boxes {
		if !orphaned(filepath.Base(box)) {
			continue
		}
		workers, _ := os.ReadDir(box)
		for _, w := range workers {
			if w.IsDir() {
				killCgroup(filepath.Join(box, w.Name()))
				removeCgroup(filepath.Join(box, w.Name()))
			}
		}
		removeCgroup(box)
	}
}

// orphaned reports whether a name is that of a box whose host was of this namespace and is gone.
func orphaned(name string) bool {
	var space, start, number uint64
	var pid int
	if n, err := fmt.Sscanf(name, boxPrefix+"%x-%x-%x-%x", &space, &pid, &start, &number); n != 4 || err != nil {
		return false
	}
	if ours, err := pidSpace(); err != nil || ours != space {
		return false
	}
	now, err := stat(pid, startField)
	return errors.Is(err, fs.ErrNotExist) || err == nil && now != start
}
