package sandbox

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/parhost/parhost/host/sandbox/internal/launcher"
	"github.com/parhost/parhost/internal/litter"
)

// Box is the sandbox of one pool. It holds what the pool's workers share. Its methods may be called from any goroutine.
type Box struct {
	policy  Policy
	machine machine
	program *program
	parts   []part   // the loader or interpreter, and the libraries loaded with the program
	opened  []string // paths of the parts that the policy does not name
	started bool     // the program's loader or interpreter has been opened to it
	filter  []byte
	place   int // the descriptor number from which the program is executed, -1 if it is executed by its name
	limits  []launcher.Limit
	shared  string // names what allows so few processes that workers get fewer than [DefaultPIDs]; empty if nothing does
	watched bool   // a watch reads its memory use
	binds   []launcher.Mount
	grants  []launcher.Grant // for the plugin's own files
	held    []*os.File       // the open files of binds and grants
	origin  string           // folder of the program, which it cannot learn in a private root without /proc; empty if it is not needed
	// libraryPath is the LD_LIBRARY_PATH for a run path that is relative to the program's file. A loader that finds the program in memory cannot
	// resolve it.
	libraryPath string
	users       int      // the first user id of the workers' own users
	cgroups     *cgroups // nil at level off without limits, and in a rehearsal without limits
	layers      []string
	folder      *litter.Folder // the socket folders of workers without a private root
	name        string
	number      atomic.Uint32 // counts launches
	seams       seams

	closing sync.Once
}

// seams switch off single layers, so that tests can see each of the other layers work.
type seams struct {
	limited                 bool // a rehearsal has the limits of a worker too
	noSeccomp, noNamespaces bool
	landlock                int // highest ABI to use; -1 for none, 0 for the kernel's
}

// boxes numbers the boxes of this process.
var boxes atomic.Uint64

// Open makes a sandbox for workers that run plugin, which is an executable, a script, or [Self]. At basic and strict, Open needs a successful
// rehearsal: a test process that runs at the policy's level, once in the life of this process.
//
// All workers run the bytes that Open has opened, even if the plugin's name later leads to another file. Confined workers run from a copy in memory.
// At [Off] the file is held open, and a start after the file has been written to fails with a [*ChangedError]. A script is hashed before its
// interpreter reads it, and again when [Launch.Recheck] is called. A start after the script has changed also fails with a [*ChangedError], and so
// does a start after the plugin's interpreter or loader has been replaced.
//
// checksum is the plugin's SHA-256 in hexadecimal, or empty. If it is set, no other bytes are executed at any level. At [Off] too the plugin then
// runs from memory, so a program that looks for files beside its own does not find them.
//
// The error matches [ErrNotSupported] if this machine cannot provide the level or enforce a limit, and [ErrNeedsFiles] if the plugin could not run
// because it needs files that the policy does not open. It is a [*ChecksumError] if the plugin has another checksum.
func Open(ctx context.Context, policy Policy, plugin, checksum string) (*Box, error) {
	policy, err := policy.complete()
	if err != nil {
		return nil, fmt.Errorf("sandbox: %w", err)
	}
	tried := make(chan error, 1)
	go func() { tried <- rehearsed(ctx, playOf(&policy)) }() // at the same time as the plugin is read, which takes longer
	b, err := openBox(ctx, policy, plugin, checksum, seams{})
	if refused := <-tried; refused != nil {
		if b != nil {
			b.Close()
		}
		return nil, refused
	}
	return b, err
}

// openBox opens a box for a complete policy. An empty plugin makes a box for a rehearsal. Processes of a rehearsal have no limits unless the seams
// ask for them.
func openBox(ctx context.Context, policy Policy, plugin, checksum string, s seams) (_ *Box, err error) {
	b := &Box{policy: policy, seams: s, place: -1}
	if policy.Level > Off { // only if needed: a seccomp filter around this host may kill it for the system calls of look
		b.machine = look()
		b.users = b.machine.block(policy.UIDBase)
	}
	defer func() {
		if err != nil {
			b.Close()
		}
	}()
	if err := b.check(); err != nil {
		return nil, err
	}
	if err := b.openBinds(); err != nil {
		return nil, err
	}
	if policy.Level > Off && !b.spaces() {
		if err := b.checkSockets(); err != nil {
			return nil, err
		}
	}
	if plugin != "" {
		if err = b.read(ctx, plugin, checksum); err != nil && ctx.Err() != nil { // ctx ended, so the plugin is not to blame
			err = fmt.Errorf("sandbox: read %s: %w", plugin, context.Cause(ctx))
		}
	} else if b.program, err = openBlank(); err != nil {
		err = b.failed("plugin", err)
	}
	if err != nil {
		return nil, err
	}
	if policy.Level == Off && !policy.limited() {
		return b, nil
	}
	if b.name, err = boxName(boxes.Add(1)); err != nil {
		return nil, err
	}
	if err := b.openLimits(plugin != "" || s.limited); err != nil {
		return nil, err
	}
	if policy.Level > Off && !b.spaces() {
		if err := b.openFolder(); err != nil {
			return nil, err
		}
	}
	if policy.Level > Off && !s.noSeccomp {
		if b.filter, err = b.needs().filter(); err != nil {
			return nil, b.failed("seccomp", err)
		}
	}
	b.describe()
	return b, nil
}

// read opens the plugin. It refuses a plugin that has another checksum or could not run.
func (b *Box) read(ctx context.Context, plugin, checksum string) (err error) {
	if b.policy.Level == Off && checksum == "" {
		if b.program, err = openHeld(ctx, plugin); err == nil {
			b.remember()
		}
		return err
	}
	if b.program, err = openProgram(ctx, plugin, checksum); err != nil {
		if _, other := errors.AsType[*ChecksumError](err); other {
			return err
		}
		return b.failed("plugin", err)
	}
	if b.policy.Level == Off {
		b.remember()
		return nil
	}
	if b.spaces() {
		b.origin = b.program.origin()
	}
	if err := b.checkSteady(); err != nil {
		return err
	}
	if err := b.load(); err != nil {
		return err
	}
	err = b.program.check(&b.policy, b.started)
	if errors.Is(err, ErrNeedsFiles) {
		return err
	}
	if err == nil {
		err = b.pin()
	}
	if err != nil {
		return b.failed("plugin", err)
	}
	b.remember()
	return nil
}

// A part is a file of the host that is opened by its name at each start.
type part struct {
	path string
	mark mark
}

// remember records the mark of the plugin's interpreter or loader, if load has not done so. If that file is missing, the start fails by itself.
func (b *Box) remember() {
	if b.program.linker == "" || b.started {
		return
	}
	path := b.seen(b.program.linker)
	if is, err := lookAt(path); err == nil {
		b.parts = append(b.parts, part{path, is})
	}
}

// recheck returns a [*ChangedError] if the next start, or the last one, would run other bytes than those that were opened.
func (b *Box) recheck() error {
	p := b.program
	if p == nil {
		return nil
	}
	if err := p.recheck(); err != nil {
		return err
	}
	for _, part := range b.parts {
		now, err := lookAt(part.path)
		if err == nil && now.bytes() != part.mark.bytes() {
			err = fmt.Errorf("it had %d bytes, last written %v, and has %d, last written %v", part.mark.size, part.mark.time(), now.size, now.time())
		}
		if err != nil {
			return &ChangedError{part.path, fmt.Errorf("%s is started or loaded by it: %w", p.path, err)}
		}
	}
	return nil
}

// check refuses a level that this machine cannot enforce.
func (b *Box) check() error {
	m := &b.machine
	if b.policy.Level == Off {
		return nil
	}
	if b.policy.Level == Basic && m.landlock == 0 && !m.ownUsers {
		return b.failed("landlock", &numberedError{errors.New("the kernel has none, and a process of the host's own user would read the host's memory and files"), unix.ENOSYS})
	}
	if b.policy.AllowFork && !b.signalsStay() {
		return b.failed("landlock", &numberedError{fmt.Errorf("ABI is %d, and a process that may start others of the host's own user could signal it: that needs ABI 6", m.landlock), unix.ENOSYS})
	}
	return nil
}

// possible returns the error that [Open] would return for a policy, as far as it is known before a process is started.
func possible(p *Policy) error { return (&Box{policy: *p, machine: look()}).check() }

// signalsStay reports whether something other than seccomp keeps a worker from signalling the host, the host's other processes, and the workers of
// other pools. Those may run as the same users if UIDBase is set.
func (b *Box) signalsStay() bool {
	return b.spaces() || b.machine.ownUsers && b.policy.UIDBase == 0 || b.landlock() >= 6
}

// stays reports whether workers must be watched so that they do not leave their cgroups. Workers can leave them only at level off.
func (b *Box) stays() bool {
	limits := func(h hierarchy) bool { return len(h.controllers) > 0 }
	return b.policy.Level == Off && b.cgroups != nil && slices.ContainsFunc(b.cgroups.used, limits)
}

func (b *Box) spaces() bool { return b.policy.Level == Strict && !b.seams.noNamespaces }

func (b *Box) landlock() int {
	switch {
	case b.policy.Level == Off || b.seams.landlock < 0:
		return 0
	case b.seams.landlock > 0:
		return min(b.seams.landlock, b.machine.landlock)
	}
	return b.machine.landlock
}

func (b *Box) needs() needs {
	return needs{level: b.policy.Level, exec: b.place, fork: b.policy.AllowFork, net: b.policy.AllowNet, locks: len(b.policy.ReadWrite) > 0, kill: b.policy.AllowFork && b.signalsStay()}
}

// openLimits chooses what enforces each limit: a cgroup or a resource limit (setrlimit(2)). worker is false for a rehearsal without limits.
func (b *Box) openLimits(worker bool) error {
	p := &b.policy
	var wanted []string
	if worker && p.MemoryBytes > 0 {
		wanted = append(wanted, memory)
	}
	if worker && (p.PIDs > 0 || p.Level > Off) {
		wanted = append(wanted, pids)
	}
	if worker && p.CPUs > 0 {
		wanted = append(wanted, cpu)
	}
	// Moving a process into a cgroup of version 1 delays its start by 5 to 10 ms. If the policy does not ask for a number of processes, the limit on
	// the worker's own user is enough.
	ownUser := p.Level > Off && (b.machine.ownUsers || b.spaces())
	var spared []string
	if ownUser && p.PIDs == 0 && !p.AllowFork {
		spared = append(spared, pids)
	}
	refused := map[string]error{}
	if worker {
		var err error
		if b.cgroups, refused, err = openCgroups(b.name, p.CgroupParent, wanted, spared); err != nil {
			return b.failed("cgroup", err)
		}
	}
	if err := refused[cpu]; err != nil {
		return b.failed("cgroup", fmt.Errorf("Policy.CPUs is %v, which takes a cgroup that the host may write to: %w", p.CPUs, err))
	}
	b.watched = worker && p.MemoryBytes > 0 && (p.Level == Off || refused[memory] != nil)
	if p.MemoryBytes > 0 && refused[memory] != nil {
		if p.MemoryBytes < leastData {
			return b.failed("limits", fmt.Errorf("Policy.MemoryBytes is %d, the least without a cgroup is %d: %w", p.MemoryBytes, leastData, refused[memory]))
		}
		b.limitTo(unix.RLIMIT_DATA, uint64(p.MemoryBytes))
	}
	if slices.Contains(wanted, pids) {
		if err := b.limitPIDs(refused[pids], ownUser); err != nil {
			return err
		}
	}
	switch {
	case p.Level > Off && !b.spaces() && len(p.ReadWrite) == 0:
		// Such a worker can create files only in the folder of its socket, which lies on the host's disk. The limit of 0 bytes keeps these files
		// empty.
		b.limitTo(unix.RLIMIT_FSIZE, 0)
	case p.FileBytes > 0:
		b.limitTo(unix.RLIMIT_FSIZE, uint64(p.FileBytes))
	}
	if p.Level > Off {
		b.limitTo(unix.RLIMIT_CORE, noCore)
		b.limitTo(unix.RLIMIT_MEMLOCK, 0)
		b.limitTo(unix.RLIMIT_MSGQUEUE, 0)
		b.limitTo(unix.RLIMIT_SIGPENDING, pendingSignals)
	}
	if p.OpenFiles > 0 {
		var most unix.Rlimit
		if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &most); err != nil {
			return err
		}
		files := min(uint64(p.OpenFiles), most.Max-1) // one number is left for the descriptor of the program itself
		b.limitTo(unix.RLIMIT_NOFILE, files)
		if b.program != nil && !b.program.script() {
			b.place = int(files)
		}
	}
	return nil
}

// limitTo adds a resource limit for workers. If the host's hard limit is lower, it uses that one: an unprivileged process cannot raise it.
func (b *Box) limitTo(resource int, value uint64) {
	var most unix.Rlimit
	if unix.Getrlimit(resource, &most) == nil {
		value = min(value, most.Max)
	}
	b.limits = append(b.limits, launcher.Limit{Resource: resource, Value: value})
}

const (
	// noCore forbids core dumps. At 1 byte the kernel writes no file and does not start the program that receives core dumps (fs/coredump.c). At 0
	// bytes, the only possible value for a host whose hard limit is 0, the kernel does start that program.
	noCore = 1
	// pendingSignals limits a worker's queued signals and timers, because they also count against the host's user.
	pendingSignals = 1024
)

// openFolder makes the folder that holds the workers' socket folders.
func (b *Box) openFolder() (err error) {
	base := b.policy.TempDir
	if base != "" { // workers may be able to change links in the path
		if base, err = filepath.EvalSymlinks(base); err != nil {
			return fmt.Errorf("sandbox: %w (Policy.TempDir)", err)
		}
	} else if b.machine.ownUsers && barrier(os.TempDir()) != nil {
		base = "/tmp"
	}
	if b.machine.ownUsers {
		if err := barrier(cmp.Or(base, os.TempDir())); err != nil {
			return b.failed("sockets", err)
		}
	}
	if b.folder, err = litter.Open("parhost-box", base, len("/4294967295/plugin4294967295")); err != nil {
		return fmt.Errorf("sandbox: %w", err)
	}
	if b.machine.ownUsers {
		return os.Chmod(b.folder.Path(), 0o711) // workers can enter their own folder but cannot list the others
	}
	return nil
}

// barrier returns the reason why a worker that runs as another user cannot reach the files in a folder. It returns nil if the worker can.
func barrier(folder string) error {
	path, err := filepath.EvalSymlinks(folder)
	if err == nil {
		path, err = filepath.Abs(path)
	}
	for ; err == nil; path = filepath.Dir(path) {
		info, failed := os.Stat(path)
		switch {
		case failed != nil:
			err = failed
		case info.Mode().Perm()&0o001 == 0:
			err = fmt.Errorf("%s has mode %#o: workers of a host that is root are users of their own, and cannot enter %s", path, info.Mode().Perm(), folder)
		case path == "/":
			return nil
		}
	}
	return err
}

// describe fills in the layers that confine each worker.
func (b *Box) describe() {
	if b.policy.Level > Off {
		b.layers = append(b.layers, "no_new_privs", "no capabilities")
		if b.machine.ownUsers {
			b.layers = append(b.layers, "own user")
		}
		if len(b.filter) > 0 {
			b.layers = append(b.layers, "seccomp")
		}
		if abi := b.landlock(); abi > 0 {
			b.layers = append(b.layers, "landlock "+strconv.Itoa(abi))
		}
	}
	if b.spaces() {
		b.layers = append(b.layers, "user, mount, pid, ipc, uts and cgroup namespaces", "private root")
		if !b.policy.AllowNet {
			b.layers = append(b.layers, "net namespace")
		}
	}
	if b.cgroups != nil {
		for _, h := range b.cgroups.used {
			if len(h.controllers) > 0 {
				b.layers = append(b.layers, fmt.Sprintf("cgroup v%d %s", h.version, strings.Join(h.controllers, " ")))
			}
		}
	}
	if len(b.opened) > 0 {
		b.layers = append(b.layers, "opened for its loader: "+quoted(b.opened))
	}
	if len(b.limits) > 0 {
		b.layers = append(b.layers, "rlimits")
	}
	if b.watched || b.stays() {
		b.layers = append(b.layers, "watch")
	}
	if b.shared != "" {
		b.layers = append(b.layers, fmt.Sprintf("%d processes and threads, of what %s allows", b.policy.PIDs, b.shared))
	}
}

// Level returns the level of the box.
func (b *Box) Level() Level { return b.policy.Level }

// PIDs returns how many processes and threads each worker may have, or 0 if nothing counts them.
func (b *Box) PIDs() int { return b.policy.PIDs }

// Layers describes in words the layers that confine each worker.
func (b *Box) Layers() []string { return slices.Clone(b.layers) }

// Checksum returns the SHA-256, in hexadecimal, of the plugin's bytes at [Open], which are the bytes that all workers run. It is empty if the file
// cannot be read or has changed. The first call computes it, and must come before Close.
func (b *Box) Checksum() string {
	if b.program == nil {
		return ""
	}
	sum, err := b.program.checksum()
	if err != nil {
		return ""
	}
	return sum
}

// Close spends at most these times on removing what workers have left: their cgroups, and the files in their folders.
const (
	removeCgroupsTime = 500 * time.Millisecond
	removeTime        = time.Second
)

// Close releases all resources of the box. All launches must have been closed before. Close may be called twice.
func (b *Box) Close() {
	b.closing.Do(func() {
		if b.cgroups != nil {
			b.cgroups.close(time.Now().Add(removeCgroupsTime)) // the next host removes what is left
		}
		if b.folder != nil {
			ctx, cancel := context.WithTimeout(context.Background(), removeTime)
			defer cancel()
			_ = b.folder.Close(ctx) // the next host removes what is left
		}
		if b.program != nil {
			_ = b.program.close()
		}
		for _, f := range b.held {
			_ = f.Close()
		}
	})
}

// failed wraps an error with its stage, the level, and a hint.
func (b *Box) failed(stage string, err error) error {
	return &StageError{Level: b.policy.Level, Stage: stage, Err: err, Hint: hint(stage, err)}
}

// A numberedError is an error with its own text that also matches an errno of the kernel.
type numberedError struct {
	error
	errno unix.Errno
}

func (e *numberedError) Unwrap() []error { return []error{e.error, e.errno} }

// hint returns advice on how to fix an error of a stage, or empty.
func hint(stage string, err error) string {
	is := func(e unix.Errno) bool { return errors.Is(err, e) }
	switch {
	case stage == "clone" && is(unix.ENOSPC):
		return "user namespaces are used up: raise /proc/sys/user/max_user_namespaces"
	case stage == "clone" && is(unix.EACCES):
		return "the program must be executable by others: chmod o+x"
	case stage == "clone" && is(unix.EPERM), stage == "mounts" && (is(unix.EPERM) || is(unix.EACCES)):
		return "user namespaces are forbidden here: in a container allow them by its seccomp profile; on Ubuntu set kernel.apparmor_restrict_unprivileged_userns=0; on Debian set kernel.unprivileged_userns_clone=1; or use level basic"
	case stage == "landlock" && is(unix.ENOSYS):
		return "it takes Linux 5.13 with landlock in the kernel's lsm= list, or a host that is root"
	case stage == "seccomp" && (is(unix.ENOSYS) || is(unix.EINVAL)):
		return "it takes a kernel with CONFIG_SECCOMP_FILTER"
	case stage == "sockets":
		return "let others enter it (chmod o+x), set TMPDIR (Policy.TempDir) to another folder, or use level strict"
	case stage == "processes":
		return "raise that limit, start fewer workers, or let each have fewer: --pids"
	case stage == "cgroup", stage == "limits":
		return cgroupHint(err)
	case stage == "exec" && is(unix.EACCES):
		return "a worker of a host that is root is a user of its own: others must be able to enter the folders and to read the files, or use level strict"
	case stage == "plugin" && is(unix.EFBIG): // a file in memory is a file to setrlimit(2)
		var limit unix.Rlimit
		_ = unix.Getrlimit(unix.RLIMIT_FSIZE, &limit)
		return fmt.Sprintf("workers execute a copy of the plugin, and the limit of a file is %d bytes here: raise it (ulimit -f)", limit.Cur)
	case stage == "plugin" && is(unix.EACCES):
		return "vm.memfd_noexec must not be 2, and the plugin must be readable"
	case stage == "descriptors" && is(unix.ENOSYS), stage == "descriptors" && is(unix.EINVAL):
		return "it takes Linux 5.11"
	}
	return ""
}
