package sandbox

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/parhost/parhost/host/sandbox/internal/launcher"
	"github.com/parhost/parhost/internal/channel"
	"github.com/parhost/parhost/internal/litter"
	"github.com/parhost/parhost/protocol"
)

// strictID is the user and group id that a strict worker sees for itself.
const strictID = 1000

// strictCapabilities are the capabilities that a launcher needs to build the private root and confine itself (linux/capability.h).
var strictCapabilities = []uintptr{unix.CAP_SYS_ADMIN, unix.CAP_SETPCAP, unix.CAP_SYS_RESOURCE}

// Launch is the start of one process in its box, and afterwards what the kernel tells about that process. Its methods may be called from any
// goroutine, but before Confirm has returned only by one goroutine at a time.
type Launch struct {
	box     *Box
	cmd     *exec.Cmd
	wrapped bool // the command starts a launcher, which becomes the plugin
	byName  bool // the held file of the program is executed by its name
	spec    launcher.Spec
	ctl     *net.UnixConn
	theirs  []*os.File // the launcher's files, which this process closes once the launcher has them
	group   *group

	mu      sync.Mutex
	sockets string // path of the socket folder, as the plugin sees it
	shut    bool
	folder  *os.File // the opened socket folder; nil until it is known
	watch   *watch   // nil if nothing must be watched
}

// Wrap changes a command that would start the plugin so that it starts the plugin in the box, as the worker in slot. Arguments, environment, folder
// and descriptors of the command apply to the plugin, and the descriptors keep their numbers.
//
// The caller then starts the command on a thread that lives as long as the process may ([syscall.SysProcAttr.Pdeathsig]), and calls Confirm. The
// caller must close the launch in every case.
func (b *Box) Wrap(cmd *exec.Cmd, slot int) (*Launch, error) {
	l := &Launch{box: b, cmd: cmd}
	if err := b.recheck(); err != nil {
		return nil, err
	}
	if b.name == "" {
		return l, l.direct()
	}
	if err := l.prepare(slot); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// direct prepares a process that needs no launcher. A process that is executed by a descriptor inherits that descriptor, which is harmless: nobody
// can change the file that it refers to.
//
// Here no launcher closes other descriptors between fork and exec. Descriptors that this process has inherited from its own parent have no
// close-on-exec flag, so direct sets the flag on all descriptors. Linux before 5.11 cannot set it for all of them at once.
func (l *Launch) direct() error {
	_ = unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC)
	if f := l.executed(); f != nil {
		l.cmd.ExtraFiles = append(slices.Clone(l.cmd.ExtraFiles), f)
		l.cmd.Path, l.cmd.Err = "/proc/self/fd/"+strconv.Itoa(2+len(l.cmd.ExtraFiles)), nil
	}
	return l.prepareOff()
}

// executed returns the file that is executed by its descriptor, or nil if the plugin is executed by its name.
func (l *Launch) executed() *os.File {
	p := l.box.program
	switch {
	case p == nil:
		return nil
	case p.held == nil:
		return p.file
	case p.held.leads():
		l.byName = true
		return nil
	}
	return p.held.file
}

// Recheck returns a [*ChangedError] if the plugin may have been started from other bytes than those that [Open] has opened. It is called once the
// plugin has sent something: an interpreter may have read its files later than they were hashed.
func (l *Launch) Recheck() error { return l.box.recheck() }

// prepareOff prepares a plugin that sees the host's files under the host's names.
func (l *Launch) prepareOff() error {
	l.sockets = variable(l.cmd.Env, envSockets)
	return l.openSockets()
}

func (l *Launch) prepare(slot int) error {
	b, cmd := l.box, l.cmd
	env := cmd.Env
	if env == nil {
		env = os.Environ()
	}
	attr := &syscall.SysProcAttr{}
	if cmd.SysProcAttr != nil {
		*attr = *cmd.SysProcAttr
	}
	attr.Pdeathsig = syscall.SIGKILL
	if b.policy.Level > Off {
		attr.Setsid, attr.Setpgid = true, false // a session of its own, because it may signal its own process group
	}
	var err error
	if b.cgroups != nil {
		if l.group, err = b.cgroups.open(strconv.FormatUint(uint64(b.number.Add(1)), 10), &b.policy); err != nil {
			return b.failed("cgroup", err)
		}
		if l.group.start != nil {
			attr.UseCgroupFD, attr.CgroupFD = true, int(l.group.start.Fd())
		}
		if b.policy.Level == Off && len(b.limits) == 0 && l.group.holdsAll() { // a launcher would have nothing to do
			cmd.Env, cmd.SysProcAttr = environment(&b.policy, slices.Clone(env)), attr
			return l.direct()
		}
	}
	l.wrapped = true
	l.spec = launcher.Spec{
		Walls: b.policy.Level > Off, Path: cmd.Path, Exec: -1, Place: b.place, Args: cmd.Args, Env: environment(&b.policy, slices.Clone(env)),
		Keep: len(cmd.ExtraFiles), UID: -1, Spaces: b.spaces(), TmpBytes: b.policy.TmpBytes, Limits: b.limits,
		Filter: b.filter, Seccomp: unix.SYS_SECCOMP, ExecveAt: unix.SYS_EXECVEAT, GetRandom: unix.SYS_GETRANDOM,
	}
	if b.libraryPath != "" && variable(l.spec.Env, envLibraries) == "" {
		l.spec.Env = append(l.spec.Env, envLibraries+"="+b.libraryPath)
	}
	if p := b.program; p != nil && p.begins != nil && b.policy.Level > Off {
		l.spec.Path, l.spec.Args = p.linker, slices.Concat(p.begins, []string{p.path}, cmd.Args[1:])
	}
	switch {
	case b.spaces():
		err = l.prepareStrict(attr, slot)
	case b.policy.Level > Off:
		err = l.prepareBasic(slot)
	default:
		err = l.prepareOff()
	}
	if err != nil {
		return err
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "control"), os.NewFile(uintptr(pair[1]), "control")
	l.theirs = append(l.theirs, theirs)
	conn, err := net.FileConn(ours)
	if err = errors.Join(err, ours.Close()); err != nil {
		return err
	}
	l.ctl = conn.(*net.UnixConn)
	files := slices.Clone(cmd.ExtraFiles)
	if f := l.executed(); f != nil {
		l.spec.Exec = 3 + len(files)
		files = append(files, f)
		if b.place < 0 {
			l.spec.Place = l.spec.Exec
		}
	}
	for i := range l.spec.Mounts {
		if l.spec.Mounts[i].FD >= 0 {
			l.spec.Mounts[i].FD += 3 + len(files)
		}
	}
	files = append(files, l.theirs...) // the copies of binds first, the control socket last
	cmd.Path, cmd.Args = "/proc/self/exe", []string{launcher.Name}
	// The environment of the launcher itself, which lives for milliseconds.
	cmd.Env = []string{"GOGC=off", "GOMAXPROCS=1", launcher.Variable + "=" + strconv.Itoa(3+len(files)-1)}
	cmd.ExtraFiles, cmd.SysProcAttr = files, attr
	cmd.Err = nil
	return nil
}

func (l *Launch) prepareStrict(attr *syscall.SysProcAttr, slot int) error {
	b := l.box
	if b.origin != "" && variable(l.spec.Env, envOrigin) == "" {
		l.spec.Env = append(l.spec.Env, envOrigin+"="+b.origin)
	}
	attr.Cloneflags |= unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS
	if !b.policy.AllowNet {
		attr.Cloneflags |= unix.CLONE_NEWNET
	}
	uid, gid := os.Geteuid(), os.Getegid()
	if b.machine.ownUsers {
		uid = b.user(slot)
		gid = uid
		attr.GidMappingsEnableSetgroups = true
		attr.Credential = &syscall.Credential{Uid: strictID, Gid: strictID}
	}
	attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: strictID, HostID: uid, Size: 1}}
	attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: strictID, HostID: gid, Size: 1}}
	attr.AmbientCaps = strictCapabilities
	l.spec.Mounts = slices.Clone(b.binds)
	slices.SortStableFunc(l.spec.Mounts, func(a, b launcher.Mount) int { return len(a.Target) - len(b.Target) }) // a mount that contains others comes first
	for i := range l.spec.Mounts {
		m := &l.spec.Mounts[i]
		if !b.machine.ownUsers {
			continue // the launcher runs as the host's user and finds the same files
		}
		fd, err := unix.OpenTree(unix.AT_FDCWD, m.Source, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
		if err != nil {
			return b.failed("mounts", &os.PathError{Op: "open_tree", Path: m.Source, Err: err})
		}
		m.FD = len(l.theirs)
		l.theirs = append(l.theirs, os.NewFile(uintptr(fd), m.Source))
	}
	for _, d := range devices {
		if _, err := os.Stat(d); err == nil {
			l.spec.Devices = append(l.spec.Devices, d)
		}
	}
	l.spec.Dir = "/tmp"
	if l.cmd.Dir != "" {
		l.spec.Dir, l.cmd.Dir = l.cmd.Dir, ""
	}
	l.sockets = launcher.Sockets
	l.spec.Sockets, l.spec.Env = launcher.Sockets, setVariable(l.spec.Env, envSockets, launcher.Sockets)
	return nil
}

func (l *Launch) prepareBasic(slot int) error {
	b := l.box
	l.sockets = filepath.Join(b.folder.Path(), strconv.FormatUint(uint64(b.number.Add(1)), 10))
	if err := os.Mkdir(l.sockets, 0o700); err != nil {
		l.sockets = ""
		return err
	}
	if b.machine.ownUsers {
		l.spec.UID = b.user(slot)
		if err := os.Chown(l.sockets, l.spec.UID, l.spec.UID); err != nil {
			return err
		}
	}
	l.spec.Mounts = b.binds
	l.spec.Sockets, l.spec.Env = l.sockets, setVariable(l.spec.Env, envSockets, l.sockets)
	return l.openSockets()
}

// openSockets opens the folder of the socket by its path on the host.
func (l *Launch) openSockets() error {
	if l.sockets == "" {
		return nil
	}
	fd, err := unix.Open(l.sockets, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: l.sockets, Err: err}
	}
	l.folder = os.NewFile(uintptr(fd), l.sockets)
	return nil
}

// StartError adds the stage and a hint to the error of starting the command. It returns nil for nil.
func (l *Launch) StartError(err error) error {
	if err == nil || !l.wrapped {
		return err
	}
	return l.box.failed("clone", err)
}

// Sockets returns the folder of the plugin's socket, as the plugin sees it.
func (l *Launch) Sockets() string { return l.sockets }

// Dial connects to the socket with this name in the plugin's folder. It never connects to anything else, whatever the plugin put in the folder.
func (l *Launch) Dial(ctx context.Context, name string) (net.Conn, error) {
	socket, err := l.openSocket(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = unix.Close(socket) }() // a descriptor of this call alone, so that Close may run at the same time
	return (&net.Dialer{Control: channel.Control}).DialContext(ctx, "unix", "/proc/self/fd/"+strconv.Itoa(socket))
}

// Check returns nil if the plugin's folder has a socket with this name, and otherwise an error.
func (l *Launch) Check(name string) error {
	socket, err := l.openSocket(name)
	if err != nil {
		return err
	}
	return unix.Close(socket)
}

func (l *Launch) openSocket(name string) (int, error) {
	if name == "" || strings.ContainsRune(name, '/') {
		return -1, fmt.Errorf("socket %q is not a name in the plugin's folder", name)
	}
	folder, err := l.ownFolder()
	if err != nil {
		return -1, fmt.Errorf("socket %q: %w", name, err)
	}
	defer func() { _ = unix.Close(folder) }()
	fd, err := litter.Look(folder, name) // not under the lock, because Kill and Close wait for it
	if err != nil {
		return -1, fmt.Errorf("socket %q: %w", name, err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return -1, errors.Join(err, unix.Close(fd))
	}
	if st.Mode&unix.S_IFMT != unix.S_IFSOCK {
		return -1, errors.Join(fmt.Errorf("%q in the plugin's folder is no socket but has mode %#o", name, st.Mode), unix.Close(fd))
	}
	return fd, nil
}

// ownFolder returns a new descriptor for the plugin's folder. The caller closes it.
func (l *Launch) ownFolder() (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.shut || l.folder == nil {
		return -1, errors.New("the plugin is gone")
	}
	return unix.FcntlInt(l.folder.Fd(), unix.F_DUPFD_CLOEXEC, 0)
}

// Kill kills all processes that the plugin started, including those that left its process group, as far as a cgroup or a namespace contains them. The
// caller must kill the process itself too: only the caller that reaps it knows that its pid has not been reused.
func (l *Launch) Kill() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.group != nil && !l.shut {
		l.group.kill()
	}
}

// Death says why the process ended. It must be called before Close. hostKilled says that the host sent the last signal.
func (l *Launch) Death(state *os.ProcessState, hostKilled bool) Death {
	d := Death{Cause: protocol.CauseExit, Code: state.ExitCode()}
	used := l.Counters()
	l.mu.Lock()
	watched := l.watched()
	l.mu.Unlock()
	status, ok := state.Sys().(syscall.WaitStatus)
	if !ok || !status.Signaled() {
		if d.Code != 0 && used.RefusedPIDs > 0 {
			d.Cause = protocol.CausePIDs
		}
		return d
	}
	d.Signal, d.Cause = unix.SignalName(status.Signal()), protocol.CauseSignal
	switch {
	case status.Signal() == unix.SIGKILL && watched == protocol.CauseEscape:
		d.Cause = protocol.CauseEscape
	case status.Signal() == unix.SIGKILL && !hostKilled && used.OutOfMemory > 0:
		d.Cause = protocol.CauseOutOfMemory
	case status.Signal() == unix.SIGSYS:
		d.Cause = protocol.CauseSeccomp
	case status.Signal() == unix.SIGXFSZ:
		d.Cause = protocol.CauseFileSize
	case status.Signal() == unix.SIGABRT && used.RefusedPIDs > 0: // how C libraries give up
		d.Cause = protocol.CausePIDs
	}
	return d
}

// watched says why the watch has killed the process; empty if it has not. The caller holds mu.
func (l *Launch) watched() protocol.Cause {
	if l.watch == nil {
		return ""
	}
	if cause := l.watch.killed.Load(); cause != nil {
		return *cause
	}
	return ""
}

// Counters returns what the kernel has counted so far. It must be called before Close.
func (l *Launch) Counters() Counters {
	l.mu.Lock()
	defer l.mu.Unlock()
	var u Counters
	if l.shut {
		return u
	}
	if l.group != nil {
		u = l.group.usage()
	}
	if l.watched() == protocol.CauseOutOfMemory {
		u.OutOfMemory++
	}
	return u
}

func (l *Launch) dropTheirs() {
	for _, f := range l.theirs {
		_ = f.Close()
	}
	l.theirs = nil
}

// Close releases everything once the process has been reaped, or if it was never started. It may be called twice.
func (l *Launch) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.shut {
		return
	}
	l.shut = true
	l.dropTheirs()
	if l.ctl != nil {
		_ = l.ctl.Close()
	}
	if l.folder != nil {
		_ = l.folder.Close()
	}
	if l.watch != nil {
		l.watch.close()
	}
	if l.group != nil {
		l.group.kill()
		l.group.close()
	}
	if l.spec.Walls && !l.spec.Spaces && l.sockets != "" {
		l.box.folder.Drop(l.sockets)
	}
}
