package attempt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/parhost/parhost/internal/family"
)

// Holds are ways in which a process can make another process block in the kernel when that touches what they share.
var Holds = map[string]func() error{
	"splice": func() error { return holdEach(holdBySplice) },
	"fuse":   holdByMemory,
	"linger": func() error { return holdEach(sendTo(lingering)) },
	"passed": func() error { return holdEach(sendTo(lockedPipe)) },
	"trace":  trace,
	"stop": func() error {
		pid, err := strconv.Atoi(os.Getenv(holdWorkerEnv))
		if err != nil {
			return err
		}
		return unix.Kill(pid, unix.SIGSTOP)
	},
}

const (
	holdEnv       = "PARHOST_TEST_HOLD"        // the key in Holds of the way to use
	holdWorkerEnv = "PARHOST_TEST_HOLD_WORKER" // the process id of the worker that started this process
	holdReportEnv = "PARHOST_TEST_HOLD_REPORT" // the file to which this process reports that it holds
	holdServeFuse = "serve fuse"               // a value of holdEnv, for the process that serves a file system
)

// Hold starts a process with all descriptors of this one, which no host finds because it lacks the marks. The process makes the host block in one
// of the [Holds]. It writes its process id, and "held" or why it could not hold, to the file report. The program must call [HoldIfAsked] first.
func Hold(how, report string) error {
	limit := unix.Rlimit{Cur: 1 << 50, Max: 1 << 50} // replaces the mark of the host's family
	if err := errors.Join(unix.Setrlimit(unix.RLIMIT_RTTIME, &limit), os.Unsetenv(family.Env)); err != nil {
		return err
	}
	_ = unix.Prctl(unix.PR_SET_PTRACER, unix.PR_SET_PTRACER_ANY, 0, 0, 0) // needed where Yama restricts ptrace
	attr := &syscall.SysProcAttr{Setsid: true}
	if how == "fuse" {
		attr.Cloneflags = unix.CLONE_NEWNS
		if os.Geteuid() != 0 {
			attr.Cloneflags |= unix.CLONE_NEWUSER
			attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
			attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
		}
	}
	cmd := exec.Command("/proc/self/exe")
	for fd := range 1 << 10 {
		_, _ = unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0)
	}
	cmd.Env = append(os.Environ(), holdEnv+"="+how, holdWorkerEnv+"="+strconv.Itoa(os.Getpid()), holdReportEnv+"="+report)
	cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = os.NewFile(1, "stdout"), os.NewFile(2, "stderr"), attr
	if err := cmd.Start(); err != nil {
		return os.WriteFile(report, fmt.Appendf(nil, "0 not held: start: %v\n", err), 0o600)
	}
	return nil
}

// HoldIfAsked runs as the process that [Hold] starts, if this is one, and then does not return.
func HoldIfAsked() {
	how := os.Getenv(holdEnv)
	if how == "" {
		return
	}
	if how == holdServeFuse {
		serveFuse(3) // the first of ExtraFiles
		os.Exit(0)
	}
	words := "held"
	if err := Holds[how](); err != nil {
		words = "not held: " + err.Error()
	}
	report := os.Getenv(holdReportEnv)
	if err := os.WriteFile(report+".new", fmt.Appendf(nil, "%d %s\n", os.Getpid(), words), 0o600); err == nil {
		_ = os.Rename(report+".new", report)
	}
	time.Sleep(10 * time.Minute) // far longer than any test
	os.Exit(0)
}

// holdEach applies hold to all pipes and sockets that this process has inherited.
func holdEach(hold func(fd int, kind uint32) error) error {
	kinds := map[int]uint32{}
	for fd := 1; fd < 64; fd++ {
		var st unix.Stat_t
		if unix.Fstat(fd, &st) != nil {
			continue
		}
		if kind := st.Mode & unix.S_IFMT; kind == unix.S_IFIFO || kind == unix.S_IFSOCK {
			kinds[fd] = kind
		}
	}
	for fd, kind := range kinds {
		done := make(chan error, 1)
		go func() { done <- hold(fd, kind) }()
		select {
		case err := <-done:
			if err != nil {
				return fmt.Errorf("descriptor %d: %w", fd, err)
			}
		case <-time.After(time.Second): // the descriptor shares what is held already
		}
	}
	return nil
}

// asleep makes a system call on a thread of its own. It returns when the thread sleeps in the call, or the call has returned.
func asleep(call func()) {
	thread, done := make(chan int, 1), make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		thread <- unix.Gettid()
		call()
	}()
	stat := fmt.Sprintf("/proc/self/task/%d/stat", <-thread)
	for sleeps := 0; sleeps < 5; { // seen several times in a row, because the thread may first sleep for another reason
		text, _ := os.ReadFile(stat)
		if _, state, _ := strings.Cut(string(text), ") "); strings.HasPrefix(state, "S") || strings.HasPrefix(state, "D") {
			sleeps++
		} else {
			sleeps = 0
		}
		select {
		case <-done:
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// fullSocket returns a socket to which no more can be written.
func fullSocket() (int, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return -1, err
	}
	for err == nil {
		_, err = unix.SendmsgN(pair[0], scratch[:], nil, nil, unix.MSG_DONTWAIT)
	}
	return pair[0], nil
}

func holdBySplice(fd int, kind uint32) error {
	if kind == unix.S_IFSOCK {
		// Of a socket this can only hold the reader's own lock, and that of a pipe which no other process has.
		var p [2]int
		if err := unix.Pipe(p[:]); err != nil {
			return err
		}
		asleep(func() { _, _ = unix.Splice(fd, nil, p[1], nil, 1<<16, 0) })
		return nil
	}
	path := fmt.Sprintf("/proc/self/fd/%d", fd)
	r, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	w, err := unix.Open(path, unix.O_WRONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	return sleepWithLock(r, w)
}

// sleepWithLock makes a thread of this process sleep while it holds the lock of a pipe.
func sleepWithLock(r, w int) error {
	full, err := fullSocket()
	if err != nil {
		return err
	}
	if _, err := unix.Write(w, []byte("x")); err != nil {
		return err
	}
	asleep(func() { _, _ = unix.Splice(r, nil, full, nil, 1, 0) })
	return nil
}

// holdByMemory reads and writes all inherited descriptors with a buffer that is mapped from a file system which does not answer.
func holdByMemory() error {
	memory, err := endlessMemory()
	if err != nil {
		return err
	}
	return holdEach(func(fd int, kind uint32) error {
		both := fd
		if kind == unix.S_IFIFO {
			var err error
			if both, err = unix.Open(fmt.Sprintf("/proc/self/fd/%d", fd), unix.O_RDWR, 0); err != nil {
				return err
			}
			asleep(func() { _, _, _ = unix.Syscall(unix.SYS_WRITE, uintptr(both), memory, 1) })
			return nil
		}
		asleep(func() { _, _, _ = unix.Syscall(unix.SYS_READ, uintptr(both), memory, 1) })
		asleep(func() { _, _, _ = unix.Syscall(unix.SYS_WRITE, uintptr(both), memory, 1) })
		return nil
	})
}

// endlessMemory returns the address of memory at which a reader sleeps until this process ends.
func endlessMemory() (uintptr, error) {
	device, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("/dev/fuse: %w", err)
	}
	at, err := os.CreateTemp("", "parhost-fuse-")
	if err != nil {
		return 0, err
	}
	defer func() { _ = os.Remove(at.Name()) }()
	_ = at.Close()
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return 0, fmt.Errorf("private mounts: %w", err)
	}
	options := fmt.Sprintf("fd=%d,rootmode=100600,user_id=%d,group_id=%d", device, os.Geteuid(), os.Getegid())
	if err := unix.Mount("parhost", at.Name(), "fuse", unix.MS_NOSUID|unix.MS_NODEV, options); err != nil {
		return 0, fmt.Errorf("mount: %w", err)
	}
	if err := startFuse(device); err != nil {
		return 0, fmt.Errorf("serve: %w", err)
	}
	file, err := unix.Open(at.Name(), unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("open: %w", err)
	}
	memory, err := unix.Mmap(file, 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE)
	if err != nil {
		return 0, fmt.Errorf("mmap: %w", err)
	}
	return address(&memory[:1][0]), nil
}

// startFuse starts another process that serves a file system, and closes the device here. A process that sleeps in a file system that it serves
// itself cannot be killed. Here another process serves it and ends with this one, so the kernel ends the sleep.
func startFuse(device int) error {
	runtime.LockOSThread() // never unlocked: the other process ends with the thread that started it (prctl(2), PR_SET_PDEATHSIG)
	file := os.NewFile(uintptr(device), "/dev/fuse")
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), holdEnv+"="+holdServeFuse)
	cmd.ExtraFiles = []*os.File{file}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return errors.Join(cmd.Start(), file.Close())
}

// serveFuse serves a file system of one file. It answers all requests but reads (linux/fuse.h).
func serveFuse(device int) {
	const (
		headBytes = 40
		getattr   = 3
		open      = 14
		read      = 15
		opInit    = 26
	)
	le := binary.LittleEndian
	request := make([]byte, 1<<20)
	for {
		n, err := unix.Read(device, request)
		if errors.Is(err, unix.EINTR) || errors.Is(err, unix.ENOENT) {
			continue
		}
		if err != nil || n < headBytes {
			return
		}
		var body []byte
		failed := int32(0)
		switch le.Uint32(request[4:]) {
		case opInit:
			body = make([]byte, 64)
			le.PutUint32(body, 7)
			le.PutUint32(body[4:], 31)
			le.PutUint32(body[20:], 1<<16) // bytes of the largest write
		case getattr:
			body = make([]byte, 104)
			le.PutUint64(body, 1<<20)                         // attributes stay valid longer than any test
			le.PutUint64(body[16:], 1)                        // inode number
			le.PutUint64(body[24:], uint64(os.Getpagesize())) // size
			le.PutUint32(body[16+60:], unix.S_IFREG|0o600)
			le.PutUint32(body[16+64:], 1)
		case open:
			body = make([]byte, 16)
		case read:
			continue // never answered
		default:
			failed = -int32(unix.ENOSYS)
		}
		answer := le.AppendUint32(nil, uint32(16+len(body)))
		answer = le.AppendUint32(answer, uint32(failed))
		answer = append(append(answer, request[8:16]...), body...)
		_, _ = unix.Write(device, answer)
	}
}

// sendTo passes a descriptor to the other end of each socket and closes its own copy, so that the kernel closes the last one at the receiver.
func sendTo(open func() (int, error)) func(fd int, kind uint32) error {
	return func(fd int, kind uint32) error {
		if kind != unix.S_IFSOCK {
			return nil
		}
		passed, err := open()
		if err != nil {
			return err
		}
		go func() {
			// The send follows at once, so that the receiver's reference is the last one. Where it is not, the close here blocks.
			if unix.Sendmsg(fd, []byte("x"), unix.UnixRights(passed), nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL) == nil { // else it is refused
				_ = unix.Close(passed)
			}
		}()
		return nil
	}
}

// lingering returns a socket whose close waits for a reader that never reads.
func lingering() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return -1, err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		return -1, err
	}
	at := l.Addr().(*net.TCPAddr)
	if err := unix.Connect(fd, &unix.SockaddrInet4{Port: at.Port, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return -1, err
	}
	keep, err := l.Accept()
	if err != nil {
		return -1, err
	}
	kept = append(kept, keep)
	if err := unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1, Linger: 600}); err != nil {
		return -1, err
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		return -1, err
	}
	for err == nil {
		_, err = unix.Write(fd, scratch[:])
	}
	return fd, unix.SetNonblock(fd, false)
}

var kept []any // values that must not be garbage-collected

// lockedPipe returns the write end of a pipe whose lock a thread of this process holds.
func lockedPipe() (int, error) {
	var p [2]int
	if err := unix.Pipe(p[:]); err != nil {
		return -1, err
	}
	path := fmt.Sprintf("/proc/self/fd/%d", p[1])
	w, err := unix.Open(path, unix.O_WRONLY, 0)
	if err != nil {
		return -1, err
	}
	return w, sleepWithLock(p[0], p[1])
}

// trace traces the worker, so that the worker's parent cannot reap it.
func trace() error {
	pid, err := strconv.Atoi(os.Getenv(holdWorkerEnv))
	if err != nil {
		return err
	}
	traced := make(chan error)
	go func() {
		runtime.LockOSThread()
		_, _, errno := unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_SEIZE, uintptr(pid), 0, 0, 0, 0)
		if errno != 0 {
			traced <- errno
			return
		}
		traced <- nil
		select {}
	}()
	return <-traced
}
