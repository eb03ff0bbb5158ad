package launcher

import (
	"errors"
	"syscall"
	"unsafe"
)

// init makes every program that links this package its own launcher. A process that was started to become a plugin builds the walls around itself,
// becomes the plugin, and does not return from init. This is not a call in main, so nobody can forget it.
//
// init runs on the thread with which the program was started (package runtime, LockOSThread), and so do all steps of the launcher. The walls are set
// for this thread, which replaces all others when it executes the plugin.
func init() {
	value, ok := syscall.Getenv(Variable)
	if !ok {
		return
	}
	l := launcher{ruleset: -1}
	for _, digit := range []byte(value) {
		if digit < '0' || digit > '9' || l.ctl > 1<<20 {
			return // another program uses this variable name
		}
		l.ctl = 10*l.ctl + int(digit-'0')
	}
	l.report(l.run())
	syscall.Exit(1)
}

// launcher is the process that becomes the plugin.
type launcher struct {
	ctl     int // the socket to the host; it closes when the plugin is executed, which tells the host
	spec    Spec
	ruleset int
	stage   string

	name, argv, envv uintptr    // pointers for execve
	kept             [][]uint64 // keeps their memory alive if Go has allocated it
}

// run executes all steps. It returns only if a step failed, or after a rehearsal.
func (l *launcher) run() error {
	l.stage = "control socket"
	if err := l.read(); err != nil {
		return err
	}
	for _, s := range []struct {
		name string
		run  func() error
	}{
		{"parent-death signal", l.dieWithParent},
		{"mounts", l.furnish},
		{"folder", l.enter},
		{"descriptors", l.closeRest},
		{"plugin", l.checkFiles},
		{"landlock", l.openRuleset},
		{"cgroup", l.awaitPlace}, // late, because moving the process takes as long as all steps above
		{"user", l.dropPrivileges},
		{"parent-death signal", l.dieWithParent}, // the change of the user has cleared the signal
		{"memory", l.hide},                       // before the limits, because the launcher itself need not fit in them
		{"limits", l.limit},
		{"landlock", l.restrict},
		{"seccomp", l.filter},
		{"exec", l.exec},
	} {
		l.stage = s.name
		if err := s.run(); err != nil {
			return err
		}
	}
	return nil
}

// read receives the Spec from the host.
func (l *launcher) read() error {
	var head [4]byte
	if err := l.fill(head[:]); err != nil {
		return err
	}
	n := int(head[0]) | int(head[1])<<8 | int(head[2])<<16 | int(head[3])<<24
	if n > MessageBytes {
		return &fault{step: "a message that is too long"}
	}
	b := make([]byte, n)
	if err := l.fill(b); err != nil {
		return err
	}
	return Parse(b, &l.spec)
}

func (l *launcher) fill(b []byte) error {
	for len(b) > 0 {
		n, err := syscall.Read(l.ctl, b)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil || n == 0:
			return failed("the host is gone", err)
		default:
			b = b[n:]
		}
	}
	return nil
}

// say sends the host a message, and the descriptor fd if it is not negative.
func (l *launcher) say(what byte, m message, fd int) error {
	var body, rights []byte
	if m != nil {
		body = Bytes(m)
	}
	if fd >= 0 {
		rights = syscall.UnixRights(fd)
	}
	n := len(body)
	head := []byte{what, byte(n), byte(n >> 8), byte(n >> 16), byte(n >> 24)}
	return syscall.Sendmsg(l.ctl, append(head, body...), rights, nil, syscall.MSG_NOSIGNAL)
}

// report sends an error to the host. It does nothing if err is nil.
func (l *launcher) report(err error) {
	if err == nil {
		return
	}
	f := &Failure{Stage: l.stage, Message: err.Error()}
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		f.Errno = int(errno)
	}
	_ = l.say(SayError, f, -1) // the host may be gone
}

// fault is an error of one step. Package fmt is not used, because importing it would delay the launcher.
type fault struct {
	step string
	err  error // nil if it is not an error of the kernel
}

func (f *fault) Error() string {
	if f.err == nil {
		return f.step
	}
	return f.step + ": " + f.err.Error()
}

func (f *fault) Unwrap() error { return f.err }

// failed returns the fault of a step with its cause.
func failed(step string, err error) error { return &fault{step: step, err: err} }

// call makes a system call that does not block. It affects this thread only.
//
//go:uintptrescapes
func call(step string, number uintptr, a ...uintptr) error {
	var args [6]uintptr
	copy(args[:], a)
	if _, _, errno := syscall.RawSyscall6(number, args[0], args[1], args[2], args[3], args[4], args[5]); errno != 0 {
		return failed(step, errno)
	}
	return nil
}

// dieWithParent makes the kernel kill this process when the thread that started it ends. It returns an error if the host has already ended.
func (l *launcher) dieWithParent() error {
	if err := call("prctl", syscall.SYS_PRCTL, syscall.PR_SET_PDEATHSIG, uintptr(syscall.SIGKILL)); err != nil {
		return err
	}
	poll := struct {
		fd             int32
		wanted, events int16
	}{fd: int32(l.ctl), wanted: pollReadHup}
	var atOnce syscall.Timespec
	n, _, errno := syscall.RawSyscall6(syscall.SYS_PPOLL, uintptr(unsafe.Pointer(&poll)), 1, uintptr(unsafe.Pointer(&atOnce)), 0, 0, 0)
	if errno == 0 && n > 0 && poll.events&(pollReadHup|pollHup) != 0 {
		return &fault{step: "the host is gone"}
	}
	return nil
}

// awaitPlace waits for the host's message that this process is in its cgroups. With namespaces, that cgroup then becomes the root of a cgroup
// namespace.
func (l *launcher) awaitPlace() error {
	if err := l.fill(make([]byte, 1)); err != nil {
		return err
	}
	if !l.spec.Spaces {
		return nil
	}
	if err := call("cgroup namespace", syscall.SYS_UNSHARE, cloneNewCgroup); err != nil && !errors.Is(err, syscall.EINVAL) {
		return err
	}
	return nil
}

func (l *launcher) enter() error {
	if l.spec.Walls {
		syscall.Umask(0o077)
	}
	if l.spec.Dir == "" {
		return nil
	}
	if err := syscall.Chdir(l.spec.Dir); err != nil {
		return failed("chdir "+l.spec.Dir, err)
	}
	return nil
}

// closeRest marks all descriptors close-on-exec except those of the plugin.
func (l *launcher) closeRest() error {
	return call("close_range", sysCloseRange, uintptr(3+l.spec.Keep), 1<<32-1, closeRangeCloexec)
}

// limit sets the resource limits. It runs late, because some of them would hinder the earlier steps.
func (l *launcher) limit() error {
	if l.spec.Exec >= 0 && l.spec.Place != l.spec.Exec {
		var most syscall.Rlimit
		if err := call("prlimit", syscall.SYS_PRLIMIT64, 0, syscall.RLIMIT_NOFILE, 0, uintptr(unsafe.Pointer(&most))); err != nil {
			return err
		}
		most.Cur = most.Max
		if err := call("prlimit", syscall.SYS_PRLIMIT64, 0, syscall.RLIMIT_NOFILE, uintptr(unsafe.Pointer(&most))); err != nil {
			return err
		}
		// The descriptor table grows to hold Place. A table that threads share grows only after an RCU grace period on all CPUs, which takes
		// milliseconds (fs/file.c, expand_fdtable). So this thread, the only one that goes on, gets a table of its own. The seccomp filters of
		// containers forbid unshare(2). An error costs only these milliseconds and is ignored.
		_, _, _ = syscall.RawSyscall(syscall.SYS_UNSHARE, syscall.CLONE_FILES, 0, 0)
		if err := call("dup3", syscall.SYS_DUP3, uintptr(l.spec.Exec), uintptr(l.spec.Place), syscall.O_CLOEXEC); err != nil {
			return err
		}
	}
	for _, r := range l.spec.Limits {
		// This is not a raw call, because package syscall must know of a new RLIMIT_NOFILE: its own Exec resets that limit otherwise.
		if err := syscall.Setrlimit(r.Resource, &syscall.Rlimit{Cur: r.Value, Max: r.Value}); err != nil {
			return failed("setrlimit "+decimal(uint64(r.Resource))+" to "+decimal(r.Value), err)
		}
	}
	return nil
}

// exec executes the plugin.
func (l *launcher) exec() error {
	if l.spec.Rehearse {
		return l.rehearse()
	}
	if err := l.say(SayReady, nil, -1); err != nil {
		return err
	}
	if l.spec.Exec < 0 {
		return call("execve "+l.spec.Path, syscall.SYS_EXECVE, l.name, l.argv, l.envv)
	}
	return call("execveat", l.spec.ExecveAt, uintptr(l.spec.Place), l.name, l.argv, l.envv, atEmptyPath)
}

// rehearse tries the walls and then executes a file as a start does. The file is not a program, so execveat fails with ENOEXEC if nothing forbids it.
func (l *launcher) rehearse() error {
	tried := try()
	err := call("execveat", l.spec.ExecveAt, uintptr(l.spec.Place), l.name, l.argv, l.envv, atEmptyPath)
	if !errors.Is(err, syscall.ENOEXEC) {
		return err
	}
	return l.say(SayTried, tried, -1)
}

// try attempts what a confined process must not be able to do.
func try() *Trial {
	number := func(err error) int {
		errno, _ := errors.AsType[syscall.Errno](err)
		return int(errno)
	}
	t := &Trial{UID: syscall.Getuid(), PID: syscall.Getpid()}
	fd, err := syscall.Open("/proc/self/status", syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if t.File = number(err); err == nil {
		closeFD(fd)
	}
	fd, err = syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if t.Socket = number(err); err == nil {
		closeFD(fd)
	}
	t.Signal = int(syscall.ESRCH)
	if parent := syscall.Getppid(); parent > 0 { // a parent in another PID namespace has pid 0 here
		t.Signal = number(syscall.Kill(parent, 0))
	}
	return t
}

func closeFD(fd int) { _ = syscall.Close(fd) }

// decimal formats a number without a sign, such as a resource limit. Package strconv would delay the launcher, because it imports others.
func decimal(n uint64) string {
	var digits [20]byte
	i := len(digits)
	for ; ; n /= 10 {
		i--
		digits[i] = byte('0' + n%10)
		if n < 10 {
			return string(digits[i:])
		}
	}
}
