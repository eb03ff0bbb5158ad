package launcher

import (
	"errors"
	"syscall"
	"unsafe"
)

// init makes every program that links this package its own launcher: a process that was started to become a plugin builds the walls around
// itself, becomes the plugin, and does not return from here. It is no call in main, because nobody could forget it.
//
// It runs on the thread that the program was started with (package runtime, LockOSThread), and so does all that follows: it holds for this
// thread, which takes the place of all others when it executes the plugin.
func init() {
	value, ok := syscall.Getenv(Variable)
	if !ok {
		return
	}
	l := launcher{ruleset: -1}
	for _, digit := range []byte(value) {
		if digit < '0' || digit > '9' || l.ctl > 1<<20 {
			return // somebody else's idea of a name
		}
		l.ctl = 10*l.ctl + int(digit-'0')
	}
	l.report(l.run())
	syscall.Exit(1)
}

// launcher is the process that is going to be the plugin.
type launcher struct {
	ctl     int // the socket to the host; it closes when the plugin is executed, which is how the host knows
	spec    Spec
	ruleset int
	stage   string

	name, argv, envv uintptr    // of what is executed, as execve takes them
	kept             [][]uint64 // where they are, if it is memory of Go's
}

// run does it all. It returns only if something failed, or when there was nothing to execute.
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
		{"cgroup", l.awaitPlace}, // late, because to be moved takes as long as all of the above
		{"user", l.dropPrivileges},
		{"parent-death signal", l.dieWithParent}, // another user's process does not have it any more
		{"memory", l.hide},                       // before the limits, within which the launcher itself need not fit
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

// read is told what to do.
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

// say tells the host something, with a descriptor if fd is one.
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

// report tells the host what went wrong, if something did.
func (l *launcher) report(err error) {
	if err == nil {
		return
	}
	f := &Failure{Stage: l.stage, Message: err.Error()}
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		f.Errno = int(errno)
	}
	_ = l.say(SayError, f, -1) // a host that is gone does not mind
}

// fault is a step that went wrong. Package fmt would be here late.
type fault struct {
	step string
	err  error // nil if the kernel has nothing to do with it
}

func (f *fault) Error() string {
	if f.err == nil {
		return f.step
	}
	return f.step + ": " + f.err.Error()
}

func (f *fault) Unwrap() error { return f.err }

// failed is the fault of a step whose error is known.
func failed(step string, err error) error { return &fault{step: step, err: err} }

// call makes a system call that does not wait for anything, on this thread alone.
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

// dieWithParent has the kernel end this process with the thread that started it, also if that has ended already.
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

// awaitPlace waits for the host's word that this process is where it is to be counted. In a namespace that is its root from now on.
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

// closeRest sees to it that the plugin gets its own descriptors alone.
func (l *launcher) closeRest() error {
	return call("close_range", sysCloseRange, uintptr(3+l.spec.Keep), 1<<32-1, closeRangeCloexec)
}

// limit sets the limits late: some of them would hold for what has yet to be done.
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
		// A table of descriptors that threads share grows only when all CPUs have taken note, which is milliseconds (fs/file.c,
		// expand_fdtable). This thread is all that goes on. An error costs these milliseconds and nothing else: the seccomp filters of
		// containers forbid unshare(2).
		_, _, _ = syscall.RawSyscall(syscall.SYS_UNSHARE, syscall.CLONE_FILES, 0, 0)
		if err := call("dup3", syscall.SYS_DUP3, uintptr(l.spec.Exec), uintptr(l.spec.Place), syscall.O_CLOEXEC); err != nil {
			return err
		}
	}
	for _, r := range l.spec.Limits {
		// Not as a raw call: execve by package syscall would set RLIMIT_NOFILE back to what it was before, if that did not know of this.
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

// rehearse tries the walls, and then executes a file as a start does. The file is no program, so that execveat fails with ENOEXEC if nothing forbids it.
func (l *launcher) rehearse() error {
	tried := try()
	err := call("execveat", l.spec.ExecveAt, uintptr(l.spec.Place), l.name, l.argv, l.envv, atEmptyPath)
	if !errors.Is(err, syscall.ENOEXEC) {
		return err
	}
	return l.say(SayTried, tried, -1)
}

// try does what nobody may do who is inside.
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
	if parent := syscall.Getppid(); parent > 0 { // a parent in another namespace has no number
		t.Signal = number(syscall.Kill(parent, 0))
	}
	return t
}

func closeFD(fd int) { _ = syscall.Close(fd) }

// decimal writes a number without a sign: resource limits have none. Package strconv waits for others.
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
