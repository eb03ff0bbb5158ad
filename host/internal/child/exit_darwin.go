package child

import (
	"errors"

	"golang.org/x/sys/unix"
)

// awaitExit returns when the process has ended but has not been reaped, and reports whether it could wait for that. It does not use waitid, which on macOS also
// returns for a process that has stopped (golang/go#19314).
func awaitExit(pid int) bool {
	queue, err := unix.Kqueue() // no child inherits it (kqueue(2))
	if err != nil {
		return false
	}
	defer func() { _ = unix.Close(queue) }()
	var end unix.Kevent_t
	unix.SetKevent(&end, pid, unix.EVFILT_PROC, unix.EV_ADD|unix.EV_ONESHOT)
	end.Fflags = unix.NOTE_EXIT
	events := make([]unix.Kevent_t, 1)
	for {
		n, err := unix.Kevent(queue, []unix.Kevent_t{end}, events, nil)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case n == 1 && events[0].Flags&unix.EV_ERROR != 0:
			err = unix.Errno(events[0].Data)
		case n == 1:
			return true
		}
		return errors.Is(err, unix.ESRCH) // a child that has not been reaped and is no longer there has ended
	}
}
