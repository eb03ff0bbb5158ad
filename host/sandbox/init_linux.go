package sandbox

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// init makes every program that links this package its own launcher: a process that was started to become a plugin builds the walls around
// itself, becomes the plugin, and does not return from here.
//
// It is no call in main, because nobody could forget it, and because packages are initialized in the order of their paths (Go
// specification, "Package initialization"): the larger part of what a host links, gRPC and protobuf above all, comes later, and a launcher
// needs nothing of it.
func init() {
	if len(os.Args) != 2 || os.Args[0] != initName {
		return
	}
	ctl, err := strconv.Atoi(os.Args[1])
	if err != nil {
		return // somebody else's idea of a name
	}
	runtime.LockOSThread() // all that follows holds for this thread, which takes the place of all others when it executes the plugin
	l := launcher{ctl: ctl}
	l.report(l.run())
	unix.Exit(1)
}

// launcher is the process that is going to be the plugin.
type launcher struct {
	ctl     int // the socket to the host; it closes when the plugin is executed, which is how the host knows
	spec    spec
	ruleset int
	stage   string
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
		{"landlock", l.openRuleset},
		{"user", l.dropPrivileges},
		{"parent-death signal", l.dieWithParent}, // another user's process does not have it any more
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

// read waits for the host's word, which comes when the process is where it is to be counted.
func (l *launcher) read() error {
	f := fdReader(l.ctl)
	var head [4]byte
	if _, err := io.ReadFull(f, head[:]); err != nil {
		return fmt.Errorf("the host is gone: %w", err)
	}
	n := binary.LittleEndian.Uint32(head[:])
	if n > messageBytes {
		return fmt.Errorf("a message of %d bytes, the limit is %d", n, messageBytes)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(f, b); err != nil {
		return fmt.Errorf("the host is gone: %w", err)
	}
	return json.Unmarshal(b, &l.spec)
}

// fdReader reads from a descriptor that blocks.
type fdReader int

func (fd fdReader) Read(b []byte) (int, error) {
	for {
		n, err := unix.Read(int(fd), b)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return 0, err
		case n == 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}

// say tells the host something, with a descriptor if fd is one.
func (l *launcher) say(what byte, v any, fd int) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	message := binary.LittleEndian.AppendUint32([]byte{what}, uint32(len(body)))
	var rights []byte
	if fd >= 0 {
		rights = unix.UnixRights(fd)
	}
	return unix.Sendmsg(l.ctl, append(message, body...), rights, nil, unix.MSG_NOSIGNAL)
}

// report tells the host what went wrong, if something did.
func (l *launcher) report(err error) {
	if err == nil {
		return
	}
	f := failure{Stage: l.stage, Message: err.Error()}
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		f.Errno = int(errno)
	}
	_ = l.say(sayError, f, -1) // a host that is gone does not mind
}

// dieWithParent has the kernel end this process with the thread that started it, also if that has ended already.
func (l *launcher) dieWithParent() error {
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return err
	}
	poll := []unix.PollFd{{Fd: int32(l.ctl), Events: unix.POLLRDHUP}}
	if n, err := unix.Poll(poll, 0); err == nil && n > 0 && poll[0].Revents&(unix.POLLRDHUP|unix.POLLHUP) != 0 {
		return errors.New("the host is gone")
	}
	return nil
}

func (l *launcher) enter() error {
	if l.spec.Level > Off {
		unix.Umask(0o077)
	}
	if l.spec.Dir == "" {
		return nil
	}
	if err := unix.Chdir(l.spec.Dir); err != nil {
		return &os.PathError{Op: "chdir", Path: l.spec.Dir, Err: err}
	}
	return nil
}

// closeRest sees to it that the plugin gets its own descriptors alone.
func (l *launcher) closeRest() error {
	return unix.CloseRange(uint(3+l.spec.Keep), 1<<32-1, unix.CLOSE_RANGE_CLOEXEC)
}

// devices are the files of /dev that a plugin gets.
var devices = []string{"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"}

// openRuleset is called before the user changes, who may not be able to find what is granted.
func (l *launcher) openRuleset() error {
	if l.spec.Landlock == 0 {
		return nil
	}
	grants := []grant{{path: l.spec.Sockets, access: landSocket}}
	for _, d := range devices {
		grants = append(grants, grant{path: d, access: landDevice, optional: true})
	}
	if l.spec.Spaces {
		grants = append(grants, grant{path: "/tmp", access: landChange})
	}
	for _, b := range l.spec.Binds {
		access := uint64(landRun)
		if b.Write {
			access = landChange
		}
		grants = append(grants, grant{path: b.Target, access: access})
	}
	if l.spec.Exec < 0 && !l.spec.Rehearse {
		grants = append(grants, grant{path: l.spec.Path, access: landRun})
	}
	var err error
	l.ruleset, err = openRuleset(l.spec.Landlock, l.spec.Net, grants)
	return err
}

// The bits of securebits(7) that keep privileges from coming back, each with its lock.
const secureBits = 1<<0 | 1<<1 | // NOROOT
	1<<2 | 1<<3 | // NO_SETUID_FIXUP
	1<<6 | 1<<7 // NO_CAP_AMBIENT_RAISE

// dropPrivileges leaves this thread without privileges, and without a way to get any.
func (l *launcher) dropPrivileges() error {
	if l.spec.Level == Off {
		return nil
	}
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return fmt.Errorf("clear ambient capabilities: %w", err)
	}
	// Only who has CAP_SETPCAP may do this; without, no_new_privs has to do.
	for c := uintptr(0); c <= 63; c++ {
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); errors.Is(err, unix.EPERM) || errors.Is(err, unix.EINVAL) {
			break // or there are no more
		}
	}
	if uid := l.spec.UID; uid >= 0 {
		// Not package syscall's, which would change all threads.
		if _, _, errno := unix.RawSyscall(unix.SYS_SETGROUPS, 0, 0, 0); errno != 0 {
			return fmt.Errorf("setgroups: %w", errno)
		}
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESGID, uintptr(uid), uintptr(uid), uintptr(uid)); errno != 0 {
			return fmt.Errorf("setresgid %d: %w", uid, errno)
		}
		if err := unix.Prctl(unix.PR_SET_SECUREBITS, 0, 0, 0, 0); err != nil {
			return fmt.Errorf("securebits: %w", err)
		}
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(uid)); errno != 0 {
			return fmt.Errorf("setresuid %d: %w", uid, errno)
		}
	}
	if err := unix.Prctl(unix.PR_SET_SECUREBITS, secureBits, 0, 0, 0); err != nil && !errors.Is(err, unix.EPERM) {
		return fmt.Errorf("securebits: %w", err)
	}
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	if err := unix.Capset(&head, &none[0]); err != nil {
		return fmt.Errorf("drop capabilities: %w", err)
	}
	return nil
}

// limit sets the limits late: some of them would hold for what has yet to be done.
func (l *launcher) limit() error {
	if l.spec.Exec >= 0 {
		var most unix.Rlimit
		if err := unix.Prlimit(0, unix.RLIMIT_NOFILE, nil, &most); err != nil {
			return err
		}
		most.Cur = most.Max
		if err := unix.Prlimit(0, unix.RLIMIT_NOFILE, &most, nil); err != nil {
			return err
		}
		// A table of descriptors that threads share grows only when all CPUs have taken note, which is milliseconds (fs/file.c,
		// expand_fdtable). This thread is all that goes on.
		if err := unix.Unshare(unix.CLONE_FILES); err != nil {
			return fmt.Errorf("unshare descriptors: %w", err)
		}
		if err := unix.Dup3(l.spec.Exec, l.spec.Place, unix.O_CLOEXEC); err != nil {
			return fmt.Errorf("descriptor %d as %d: %w", l.spec.Exec, l.spec.Place, err)
		}
	}
	for _, r := range l.spec.Limits {
		// Package syscall's, because it would set RLIMIT_NOFILE back to what it was before the launcher if it did not know of this.
		if err := syscall.Setrlimit(r.Resource, &syscall.Rlimit{Cur: r.Value, Max: r.Value}); err != nil {
			return fmt.Errorf("setrlimit %d to %d: %w", r.Resource, r.Value, err)
		}
	}
	return nil
}

func (l *launcher) restrict() error {
	if l.spec.Level == Off {
		return nil
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("no_new_privs: %w", err)
	}
	if l.spec.Landlock == 0 {
		return nil
	}
	return restrict(l.ruleset)
}

func (l *launcher) filter() error {
	if len(l.spec.Filter) == 0 {
		return nil
	}
	return applyFilter(l.spec.Filter)
}

// exec executes the plugin.
func (l *launcher) exec() error {
	if l.spec.Rehearse {
		return l.say(sayTried, try(), -1)
	}
	if err := l.say(sayReady, nil, -1); err != nil {
		return err
	}
	if l.spec.Exec < 0 {
		return &os.PathError{Op: "execve", Path: l.spec.Path, Err: syscall.Exec(l.spec.Path, l.spec.Args, l.spec.Env)}
	}
	argv, err := syscall.SlicePtrFromStrings(l.spec.Args)
	if err != nil {
		return err
	}
	envv, err := syscall.SlicePtrFromStrings(l.spec.Env)
	if err != nil {
		return err
	}
	var empty byte
	_, _, errno := unix.RawSyscall6(unix.SYS_EXECVEAT, uintptr(l.spec.Place), uintptr(unsafe.Pointer(&empty)),
		uintptr(unsafe.Pointer(&argv[0])), uintptr(unsafe.Pointer(&envv[0])), unix.AT_EMPTY_PATH, 0)
	return fmt.Errorf("execveat: %w", errno)
}

// try does what nobody may do who is inside.
func try() trial {
	number := func(err error) int {
		errno, _ := errors.AsType[syscall.Errno](err)
		return int(errno)
	}
	t := trial{UID: unix.Getuid(), PID: unix.Getpid()}
	fd, err := unix.Open("/proc/self/status", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if t.File = number(err); err == nil {
		_ = unix.Close(fd)
	}
	fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if t.Socket = number(err); err == nil {
		_ = unix.Close(fd)
	}
	t.Signal = int(unix.ESRCH)
	if parent := unix.Getppid(); parent > 0 { // a parent in another namespace has no number
		t.Signal = number(unix.Kill(parent, 0))
	}
	return t
}
