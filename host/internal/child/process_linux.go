package child

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/parhost/parhost/internal/rss"
)

// isolate starts the process in a new session and group, out of reach of the terminal's signals. The kernel kills it when the spawner's thread ends.
func isolate() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
}

// awaitExit returns when the process has ended but has not been reaped, and reports whether it could wait for that. It waits for a pidfd, which takes no
// thread. With waitid a pool of 100 workers would hold 100 threads, each of which counts against the user's limit and reserves 72 MiB of address space in a
// program with cgo. awaitExit takes a thread only if there is no pidfd (Linux before 5.10, no descriptor left).
func awaitExit(pid int) bool {
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if err != nil {
		return waitExit(unix.P_PID, pid, 0) != nil
	}
	f := os.NewFile(uintptr(fd), "pidfd")
	defer f.Close()
	var info *unix.Siginfo
	if conn, err := f.SyscallConn(); err == nil {
		err = conn.Read(func(fd uintptr) bool {
			info = waitExit(unix.P_PIDFD, int(fd), unix.WNOHANG)
			return info == nil || info.Signo != 0
		})
		if err == nil {
			return info != nil
		}
	}
	return waitExit(unix.P_PID, pid, 0) != nil
}

// waitExit calls waitid(2) for a process that ends, without reaping it. It returns nil if this process has no such child, and a Siginfo without a
// signal if the child runs and options do not let it wait.
func waitExit(idType, id, options int) *unix.Siginfo {
	for {
		var info unix.Siginfo
		if err := unix.Waitid(idType, id, &info, unix.WEXITED|unix.WNOWAIT|options, nil); err == nil {
			return &info
		} else if !errors.Is(err, unix.EINTR) {
			return nil
		}
	}
}

// Stopped reports whether a signal has stopped the process. It reads nothing of /proc, which may hide the process.
func (p *Process) Stopped() bool {
	var info unix.Siginfo
	err := unix.Waitid(unix.P_PID, p.PID(), &info, unix.WSTOPPED|unix.WNOHANG|unix.WNOWAIT, nil)
	return err == nil && info.Signo != 0
}

// checkPeer refuses a connection if neither the process nor a process that it has started listens at the socket: a socket in its folder can be a link to
// another one. The kernel knows which process has called listen (unix(7), SO_PEERCRED).
func (p *Process) checkPeer(conn net.Conn) error {
	socket, ok := conn.(*net.UnixConn)
	if !ok {
		return nil
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return err
	}
	var peer *unix.Ucred
	if failed := raw.Control(func(fd uintptr) { peer, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); failed != nil || err != nil {
		return errors.Join(failed, err)
	}
	pid := int(peer.Pid)
	if session, err := unix.Getsid(pid); err == nil && session == p.PID() || p.entry.has(pid) {
		return nil
	}
	return fmt.Errorf("the socket %q is that of process %d, which is none of the plugin's", p.address, pid)
}

// CanReadRSS says whether the memory of a process can be read on this system.
const CanReadRSS = true

// ReadRSS returns the resident bytes of a process, without memory that it shares with other processes, such as its host. A process that has ended has 0. After
// an error the memory is unknown, and the process itself may have caused the error.
func ReadRSS(pid int) (int64, error) {
	m, err := rss.Read(pid)
	if errors.Is(err, rss.ErrEnded) {
		return 0, nil
	}
	return m.Resident - m.Shared, err
}

// tick is the unit of times in /proc. The kernel converts them to it on every system that Go runs on.
const tick = time.Second / 100

// CanReadCPU says whether the CPU time of a process can be read on this system.
const CanReadCPU = true

// ReadCPU returns the CPU time that a process has used, all its threads together, and that its children had used that it has waited for.
func ReadCPU(pid int) (time.Duration, error) {
	path := fmt.Sprintf("/proc/%d/stat", pid)
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	// The process chose the second field, its name in brackets, which may contain anything.
	_, rest, _ := strings.Cut(string(text[bytes.LastIndexByte(text, ')')+1:]), " ")
	fields := strings.Fields(rest) // from the third field of proc(5) on
	if len(fields) < 15 {
		return 0, fmt.Errorf("%s: %.100q", path, text)
	}
	ticks := int64(0)
	for _, field := range fields[11:15] { // utime, stime, cutime, cstime
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", path, err)
		}
		ticks += n
	}
	return time.Duration(ticks) * tick, nil
}
