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

// Markable returns the reason why this process cannot mark its workers by a limit, nil if it can. It also returns nil for a host that is itself marked:
// that host is a worker of another host, and its own workers carry that host's mark.
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

// quietPasses is how many passes in a row have to find no member if processes were started meanwhile. One pass may miss a member that starts another and
// ends: it had not been started when the pass came to its number, or had ended by then.
const quietPasses = 5

// End kills the processes that match, except this one, and returns how many. It searches again until it has found none and no process was started
// meanwhile that could match, or until quietPasses passes in a row have found none.
//
// The error says why they may live: there is no /proc or no pidfd (before Linux 5.3), or the limit of time has passed.
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

// Has reports whether a process is one of those who are meant.
func (s Search) Has(pid int) bool {
	var look looker
	return look.member(&s, pid)
}

// hunt is a search under way.
type hunt struct {
	*Search
	deadline time.Time
	look     looker
	killed   map[int]int  // the members that this pass has killed, with a pidfd for each
	met      int          // members that this pass has seen, and no pass before it had seen dead
	dead     map[int]bool // those that have been seen dead, and may stay in the kernel's table
}

// pass kills each member that it sees. It goes upwards through the numbers, as the kernel does who gives them away, and then through those that
// were given away meanwhile, after first: a child that a member makes has a higher one, as a rule.
func (h *hunt) pass(first int) error {
	if h.After > 0 && h.After <= first && first-h.After <= mostNumbers {
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

// unborn is how many numbers, of those given away last, may belong to processes that cannot be seen yet: the kernel has not made them.
const unborn = 4

// chase visits the numbers from next on until no more are given away. It looks once more at the last ones then.
func (h *hunt) chase(next int) error {
	for again := false; ; {
		last := lastPID()
		if last-next > mostNumbers { // the next pass sees those
			return nil
		}
		from := next
		if last < next { // or the kernel has begun again from the first number, which is for the next pass too
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

// visit kills a process if it is a member. Those that it is asked for after the deadline it does not look at: what processes show of themselves
// may be large.
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
		return nil // it is the thread of another process
	}
	if errors.Is(err, unix.ESRCH) {
		h.met++ // it has ended since, and may have left another
		return nil
	}
	if err != nil {
		return fmt.Errorf("pidfd_open: %w", err)
	}
	// A process has its number for as long as it is there. If it was another that had the mark, this one is gone, and the signal
	// reaches nobody.
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

// awaitAll waits for the members that a pass has killed to be dead, but not for long: while one takes its time, its children may have some. It
// returns how many are.
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
	limit, err := hardLimit(pid)
	if errors.Is(err, unix.ESRCH) || unix.Tgkill(unix.Getpid(), pid, 0) == nil {
		return false
	}
	return err == nil && s.inLimit(limit) || l.names(s.Name, pid) && s.inEnvironment(l.read(pid))
}

// hardLimit returns the limit of a process that may be a mark. prlimit(2) tells root of processes of other users only with CAP_SYS_RESOURCE, which
// containers lack as a rule. /proc/PID/limits tells everybody, and costs more.
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
	return strconv.ParseUint(numbers[1], 10, 64) // an error for the word unlimited
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
