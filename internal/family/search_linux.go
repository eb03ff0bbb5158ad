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

// Supported is true on systems where families can be found.
const Supported = true

// Mark sets the resource limit that marks a worker. It is called right after the worker's start.
func (n Name) Mark(pid int, number uint32) {
	var limit unix.Rlimit
	if unix.Prlimit(pid, unix.RLIMIT_RTTIME, nil, &limit) != nil || limit.Max != unix.RLIM_INFINITY {
		return // it is limited already, perhaps by a host whose worker this host is: that mark has to stay
	}
	limit.Cur, limit.Max = n.limit(number), n.limit(number)
	_ = unix.Prlimit(pid, unix.RLIMIT_RTTIME, &limit, nil) // if it fails, the environment variable still marks the worker
}

// Markable returns the reason why this process cannot mark its workers with a resource limit, or nil if it can. It also returns nil for a host that
// is itself marked: such a host is a worker of another host, and its own workers carry that host's mark.
func Markable() error {
	var limit unix.Rlimit
	if err := unix.Prlimit(0, unix.RLIMIT_RTTIME, nil, &limit); err != nil {
		return os.NewSyscallError("prlimit", err)
	}
	if limit.Max < markBit {
		return fmt.Errorf("RLIMIT_RTTIME is %d µs here, and would have to be unlimited", limit.Max)
	}
	return nil
}

// quietPasses is how many passes in a row must find no member before the search ends, if processes were started meanwhile. A single pass may miss a
// member that starts another and ends: the new one had not been started when the pass came to its process id, or had ended by then.
const quietPasses = 5

// End kills the processes that match, except this one, and returns how many. It searches again until it has found none and no process was started
// meanwhile that could match, or until quietPasses passes in a row have found none.
//
// An error means that some may still live: there is no /proc, there is no pidfd (before Linux 5.3), or the time limit has passed.
func (s Search) End() (ended int, err error) {
	deadline := time.Now().Add(s.Limit)
	h := hunt{Search: &s, deadline: deadline, killed: map[int]int{}, dead: map[int]bool{}}
	for quiet := 0; ; {
		first := lastPID()
		h.met = 0
		err := h.pass(first)
		ended += h.awaitAll()
		if err != nil {
			return ended, err
		}
		switch {
		case h.met > 0:
			quiet = 0
		case first > 0 && lastPID() == first:
			return ended, nil
		default:
			if quiet++; quiet >= quietPasses {
				return ended, nil
			}
		}
		if h.met > 0 && time.Now().After(deadline) {
			return ended, fmt.Errorf("%d processes that workers started were still there after %v, and may start others faster than they are killed", h.met, s.Limit)
		}
	}
}

// Has reports whether a process is one that the search is for.
func (s Search) Has(pid int) bool {
	var look looker
	return look.member(&s, pid)
}

// hunt is the state of a running search.
type hunt struct {
	*Search
	deadline time.Time
	look     looker
	killed   map[int]int  // members that this pass has killed: process id → pidfd
	met      int          // members that this pass has seen, except those that an earlier pass saw dead
	dead     map[int]bool // members that were seen dead; they may stay in the kernel's table
}

// pass kills each member that it sees. It visits the processes in /proc in ascending order of their ids, which is the order in which the kernel
// assigns them. Then it visits the ids that the kernel has assigned meanwhile, after first, because a member's new child usually has a higher id.
func (h *hunt) pass(first int) error {
	if h.After > 0 && h.After <= first && first-h.After <= maxNumbers {
		return h.chase(h.After)
	}
	proc, err := os.Open("/proc")
	if err != nil {
		return err
	}
	defer proc.Close()
	names, err := proc.Readdirnames(-1)
	if err != nil {
		return err
	}
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			if err := h.visit(pid); err != nil {
				return err
			}
		}
	}
	if first == 0 {
		return nil
	}
	return h.chase(first + 1)
}

// unborn is how many of the last assigned process ids may belong to processes that the kernel is still creating, so that they cannot be seen yet.
const unborn = 4

// chase visits the process ids from next on, until the kernel assigns no more. Then it looks once more at the last few.
func (h *hunt) chase(next int) error {
	for again := false; ; {
		last := lastPID()
		if last-next > maxNumbers { // the next pass sees those
			return nil
		}
		from := next
		if last < next { // nothing new, or the ids have wrapped around to the first one, which is for the next pass too
			if again {
				return nil
			}
			from = max(1, next-unborn)
		}
		again = last < next
		for pid := from; pid <= max(last, next-1); pid++ {
			if err := h.visit(pid); err != nil {
				return err
			}
		}
		next = max(next, last+1)
	}
}

// visit kills a process if it is a member. After the deadline it returns an error instead of looking: the environment of a process may be large, so
// that each look takes time.
func (h *hunt) visit(pid int) error {
	if time.Now().After(h.deadline) {
		if h.met > 0 {
			return fmt.Errorf("%d processes that workers started have been met, and not all others looked at, after %v", h.met, h.Limit)
		}
		return fmt.Errorf("not all processes have been looked at after %v", h.Limit)
	}
	if _, killed := h.killed[pid]; killed || !h.look.member(h.Search, pid) || h.Spare != nil && h.Spare(pid) {
		return nil
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) {
		return nil // it is a thread of another process
	}
	if errors.Is(err, unix.ESRCH) {
		h.met++ // it has ended since, and may have started another process
		return nil
	}
	if err != nil {
		return fmt.Errorf("pidfd_open: %w", err)
	}
	// The id may have gone to another process between the first look and the opening of the pidfd, so this looks again. If the process with this id has
	// the mark now, it is the pidfd's process. Or that has ended and the id belongs to a new process, and then the signal reaches no process.
	if !h.look.member(h.Search, pid) {
		h.met++
		return unix.Close(fd)
	}
	if !isDead(fd, 0) && unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0) == nil {
		h.met++
		h.killed[pid] = fd
		return nil
	}
	h.reap(fd)
	if !h.dead[pid] {
		h.dead[pid] = true
		h.met++
	}
	return unix.Close(fd)
}

// maxNumbers is how many process ids can be tried in the time that it takes to list /proc.
const maxNumbers = 2048

// lastPID returns the process id or thread id that the kernel assigned last. It returns 0 if the kernel does not tell: it must be built with
// CONFIG_CHECKPOINT_RESTORE. (Where lxcfs provides /proc/loadavg, the last process id there belongs to another namespace.)
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

// awaitAll waits until the members that a pass has killed are dead, and returns how many are. It waits for 50 ms at most: while one member takes
// its time, its children may start others.
func (h *hunt) awaitAll() (dead int) {
	deadline := h.deadline
	if soon := time.Now().Add(50 * time.Millisecond); soon.Before(deadline) {
		deadline = soon
	}
	for pid, fd := range h.killed {
		if isDead(fd, time.Until(deadline)) {
			dead++
			h.dead[pid] = true
			h.reap(fd)
		}
		_ = unix.Close(fd)
	}
	clear(h.killed)
	return dead
}

// reap reaps a dead member if [Search.Reap] is set.
func (s *Search) reap(pidfd int) {
	if s.Reap {
		_ = unix.Waitid(unix.P_PIDFD, pidfd, nil, unix.WEXITED|unix.WNOHANG, nil) // fails if the process is not a child of this one, which is the usual case
	}
}

// isDead reports whether a process has ended, and waits for that for a limited time. A process that has not been reaped counts as dead, because its parent
// may never reap it.
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

// looker reads the marks of processes. It reuses its buffers.
type looker struct{ piece, environ []byte }

// member reports whether a process has the mark of a process that the search is for. It returns false for this process itself. A process that this
// one may not inspect is not one of its descendants, or has changed to another user's rights.
func (l *looker) member(s *Search, pid int) bool {
	limit, err := hardLimit(pid)
	if errors.Is(err, unix.ESRCH) || unix.Tgkill(unix.Getpid(), pid, 0) == nil {
		return false
	}
	return err == nil && s.inLimit(limit) || l.names(s.Name, pid) && s.inEnvironment(l.read(pid))
}

// hardLimit returns the hard limit of RLIMIT_RTTIME of a process, which may be a mark. For processes of other users, prlimit(2) needs
// CAP_SYS_RESOURCE even if the caller is root, and containers usually lack it. /proc/PID/limits needs no capability, but takes longer.
func hardLimit(pid int) (uint64, error) {
	var limit unix.Rlimit
	err := unix.Prlimit(pid, unix.RLIMIT_RTTIME, nil, &limit)
	if !errors.Is(err, unix.EPERM) || unix.Geteuid() != 0 {
		return limit.Max, err
	}
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/limits")
	if err != nil {
		return 0, err
	}
	_, after, _ := strings.Cut(string(text), "\nMax realtime timeout ")
	numbers := strings.Fields(after)
	if len(numbers) < 2 {
		return 0, fmt.Errorf("/proc/%d/limits has no realtime timeout", pid)
	}
	return strconv.ParseUint(numbers[1], 10, 64) // an error if the limit is "unlimited"
}

const (
	// longestEnviron is more than execve(2) accepts with the usual stack limit. A mark may stand anywhere in the environment, because shells and other
	// programs reorder the variables.
	longestEnviron = 8 << 20
	pieceBytes     = 16 << 10 // most environments are smaller
)

// names reports whether a name occurs anywhere in the environment of a process. It reads piece by piece, so that a large environment takes no more memory.
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
	kept := 0 // bytes of the previous piece in which the name may begin
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

// read returns the environment of a process. It returns nothing if the environment cannot be read.
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
