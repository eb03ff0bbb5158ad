package family

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Supported says that families can be found here.
const Supported = true

// Mark sets the limit of a worker that has just been started.
func (n Name) Mark(pid int, number uint32) {
	var limit unix.Rlimit
	if unix.Prlimit(pid, unix.RLIMIT_RTTIME, nil, &limit) != nil || limit.Max != unix.RLIM_INFINITY {
		return // it is limited already, by another host perhaps whose worker we are: that mark has to stay
	}
	limit.Cur, limit.Max = n.limit(number), n.limit(number)
	_ = unix.Prlimit(pid, unix.RLIMIT_RTTIME, &limit, nil) // there is the variable too
}

// End kills all who are meant but this process, and returns how many when it has looked and found none alive.
//
// The error says why they may live: there is no /proc or no pidfd (before Linux 5.3), or the limit of time has passed.
func (s Search) End() (ended int, err error) {
	deadline := time.Now().Add(s.Limit)
	for {
		killed, err := s.pass(deadline)
		ended += s.awaitAll(killed, deadline)
		if err != nil || len(killed) == 0 {
			return ended, err
		}
		if time.Now().After(deadline) {
			return ended, fmt.Errorf("%d processes that workers started were still there after %v", len(killed), s.Limit)
		}
	}
}

// Has reports whether a process is one of those who are meant.
func (s Search) Has(pid int) bool {
	var look looker
	return look.member(&s, pid)
}

// pass kills each member that it sees, and returns their pidfds. It goes upwards through the numbers, as the kernel does who gives them
// away: a child that a member makes while it looks has a higher one, as a rule. Those that it has not come to by the deadline it does not look at:
// what processes show of themselves may be large.
func (s *Search) pass(deadline time.Time) (killed []int, err error) {
	var look looker
	visit := func(pid int) error {
		if time.Now().After(deadline) {
			return fmt.Errorf("not all processes have been looked at after %v", s.Limit)
		}
		if !look.member(s, pid) || s.Spare != nil && s.Spare(pid) {
			return nil
		}
		fd, err := unix.PidfdOpen(pid, 0)
		if errors.Is(err, unix.ESRCH) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) {
			return nil // it has ended, or is the thread of another process
		}
		if err != nil {
			return fmt.Errorf("pidfd_open: %w", err)
		}
		// A process has its number for as long as it is there. If it was another that had the mark, this one is gone, and the signal
		// reaches nobody.
		if look.member(s, pid) {
			if !isDead(fd, 0) && unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0) == nil {
				killed = append(killed, fd)
				return nil
			}
			s.reap(fd)
		}
		return unix.Close(fd)
	}
	if last := lastPID(); s.After > 0 && s.After <= last && last-s.After <= mostNumbers {
		for pid := s.After; pid <= last && err == nil; pid++ {
			err = visit(pid)
			if pid == last {
				last = max(last, lastPID())
			}
		}
		return killed, err
	}
	proc, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	defer proc.Close()
	names, err := proc.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			if err := visit(pid); err != nil {
				return killed, err
			}
		}
	}
	return killed, nil
}

// mostNumbers is how many numbers cost no more to try than a look into /proc.
const mostNumbers = 2048

// lastPID returns the number that the kernel gave away last, to a process or a thread, and 0 if it does not tell: not all are built with
// CONFIG_CHECKPOINT_RESTORE. (The one in /proc/loadavg is another's where lxcfs stands before it.)
func lastPID() int {
	fd, err := unix.Open("/proc/sys/kernel/ns_last_pid", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0
	}
	var digits [16]byte
	n, err := unix.Read(fd, digits[:])
	if errors.Join(err, unix.Close(fd)) != nil {
		return 0
	}
	pid, _ := strconv.Atoi(strings.TrimSpace(string(digits[:n])))
	return pid
}

// awaitAll waits for processes to be dead, but not for long: while one takes its time, its children may have some. It returns how many are.
func (s *Search) awaitAll(pidfds []int, deadline time.Time) (dead int) {
	if soon := time.Now().Add(50 * time.Millisecond); soon.Before(deadline) {
		deadline = soon
	}
	for _, fd := range pidfds {
		if isDead(fd, time.Until(deadline)) {
			dead++
			s.reap(fd)
		}
		_ = unix.Close(fd)
	}
	return dead
}

// reap takes a dead member out of the kernel's table if that is this process's business.
func (s *Search) reap(pidfd int) {
	if s.Reap {
		_ = unix.Waitid(unix.P_PIDFD, pidfd, nil, unix.WEXITED|unix.WNOHANG, nil) // mostly it is no child
	}
}

// isDead waits for a process to end. One that has not been reaped is dead too: its parent may never do that.
func isDead(pidfd int, wait time.Duration) bool {
	deadline := time.Now().Add(wait)
	for {
		left := max(0, time.Until(deadline))
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, int(left.Milliseconds()))
		if !errors.Is(err, unix.EINTR) {
			return n > 0
		}
	}
}

// looker reads marks. It keeps the memory for that.
type looker struct{ piece, environ []byte }

// member reports whether a process, which is not this one, has the mark of one who is meant. What this process may not see is none of its
// descendants, or has taken another user's rights.
func (l *looker) member(s *Search, pid int) bool {
	var limit unix.Rlimit
	err := unix.Prlimit(pid, unix.RLIMIT_RTTIME, nil, &limit)
	if errors.Is(err, unix.ESRCH) || unix.Tgkill(unix.Getpid(), pid, 0) == nil {
		return false
	}
	return err == nil && s.inLimit(limit.Max) || l.names(s.Name, pid) && s.inEnvironment(l.read(pid))
}

const (
	// longestEnviron is more than execve(2) takes with the usual limit of the stack. A mark may stand anywhere in there: shells and others put
	// variables into an order of their own.
	longestEnviron = 8 << 20
	pieceBytes     = 16 << 10 // most have less
)

// names reports whether a name is anywhere in the environment of a process, which it reads by pieces: large ones are to cost time alone.
func (l *looker) names(n Name, pid int) bool {
	fd, err := openEnviron(pid)
	if err != nil {
		return false
	}
	defer func() { _ = unix.Close(fd) }()
	if l.piece == nil {
		l.piece = make([]byte, pieceBytes)
	}
	name := []byte(n.String())
	kept := 0 // bytes of the piece before, where the name may begin
	for size := 0; size < longestEnviron; {
		read, err := unix.Read(fd, l.piece[kept:])
		if read <= 0 || err != nil {
			return false
		}
		piece := l.piece[:kept+read]
		if bytes.Contains(piece, name) {
			return true
		}
		size += read
		kept = copy(l.piece, piece[max(0, len(piece)-len(name)+1):])
	}
	return false
}

// read returns the environment of a process, nothing if it cannot be read.
func (l *looker) read(pid int) []byte {
	fd, err := openEnviron(pid)
	if err != nil {
		return nil
	}
	if l.environ == nil {
		l.environ = make([]byte, pieceBytes)
	}
	size := 0
	for size < longestEnviron {
		n, err := unix.Read(fd, l.environ[size:])
		if n <= 0 || err != nil {
			break
		}
		if size += n; size == len(l.environ) {
			l.environ = append(l.environ, make([]byte, size)...)
		}
	}
	_ = unix.Close(fd)
	return l.environ[:size]
}

func openEnviron(pid int) (fd int, err error) {
	return unix.Open("/proc/"+strconv.Itoa(pid)+"/environ", unix.O_RDONLY|unix.O_CLOEXEC, 0)
}
