package family

import (
	"os"
	"os/signal"
	"strconv"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// maxReapPause is the longest pause between two searches for dead children.
const maxReapPause = 100 * time.Millisecond

// ReapOrphans reaps orphans of this family as they die, until stop is closed. The kernel makes orphans children of pid 1 or of a subreaper, where
// no other code waits for them. ReapOrphans returns at once if this process is neither.
//
// Spare must report true for each member that this process itself has started, from before it is marked until it is reaped. A dead process has no
// environment any more, so only its resource limit shows that it is a member. ReapOrphans leaves all other dead children to the code that waits for them.
func (s Search) ReapOrphans(stop <-chan struct{}) {
	if !adopts() {
		return
	}
	ended := make(chan os.Signal, 1) // one signal stands for all children that have ended since the last look
	signal.Notify(ended, unix.SIGCHLD)
	defer signal.Stop(ended)
	var look looker
	for {
		begun := time.Now()
		s.reapOrphans(&look)
		pause := time.After(min(9*time.Since(begun), maxReapPause)) // uses at most a tenth of one CPU
		if !received(pause, stop) || !received(ended, stop) {
			return
		}
	}
}

// received waits until c has a value. It reports false if stop is closed first.
func received[T any](c <-chan T, stop <-chan struct{}) bool {
	select {
	case <-c:
		return true
	case <-stop:
		return false
	}
}

// adopts reports whether the kernel gives orphans to this process.
func adopts() bool {
	if os.Getpid() == 1 {
		return true
	}
	var subreaper int32 // prctl(2) writes an int
	err := unix.Prctl(unix.PR_GET_CHILD_SUBREAPER, uintptr(unsafe.Pointer(&subreaper)), 0, 0, 0)
	return err == nil && subreaper != 0
}

// reapOrphans reaps all dead children that are members.
func (s *Search) reapOrphans(look *looker) {
	for {
		pid := deadChild(unix.P_ALL, 0)
		if pid == 0 {
			return
		}
		if !s.reapOrphan(look, pid) {
			break
		}
	}
	// The kernel names one dead child first. If other code waits for that child, the search must go on behind it.
	proc, err := os.Open("/proc")
	if err != nil {
		return
	}
	defer proc.Close()
	names, _ := proc.Readdirnames(-1)
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil && deadChild(unix.P_PID, pid) != 0 {
			s.reapOrphan(look, pid)
		}
	}
}

// deadChild returns the process id of a dead child without reaping the child. It returns 0 if no child is dead.
func deadChild(idType, id int) int {
	var info unix.Siginfo
	if unix.Waitid(idType, id, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil) != nil || info.Signo == 0 {
		return 0
	}
	return int((*childInfo)(unsafe.Pointer(&info)).pid)
}

// childInfo is the beginning of a siginfo_t for SIGCHLD (sigaction(2)). The union in siginfo_t is aligned like a pointer.
type childInfo struct {
	signo, errno, code int32
	_                  [0]uintptr
	pid                int32
}

// reapOrphan reaps a dead child if it is a member that is not spared, and reports whether it did.
func (s *Search) reapOrphan(look *looker, pid int) bool {
	fd, err := unix.PidfdOpen(pid, 0) // the pidfd makes sure that the process examined is the one reaped
	if err != nil {
		return false
	}
	defer func() { _ = unix.Close(fd) }()
	if !look.member(s, pid) || s.Spare != nil && s.Spare(pid) {
		return false
	}
	return unix.Waitid(unix.P_PIDFD, fd, nil, unix.WEXITED|unix.WNOHANG, nil) == nil
}
