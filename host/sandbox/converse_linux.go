package sandbox

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/parhost/parhost/host/sandbox/internal/launcher"
	"github.com/parhost/parhost/internal/rss"
)

// Confirm sees a process that has been started through to where the plugin runs. The error says which stage failed; the process is
// then about to end.
func (l *Launch) Confirm(ctx context.Context) error {
	if l.group != nil {
		l.group.started()
	}
	if l.wrapped {
		if _, err := l.confirm(ctx); err != nil {
			return err
		}
	} else if err := l.openWatch(); err != nil {
		return err
	}
	if p := l.box.program; p != nil && p.held != nil {
		if err := p.held.ran(l.cmd.Process.Pid, l.byName); err != nil {
			return err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.watch != nil && !l.shut {
		l.watch.begin(l.cmd.Process)
	}
	return nil
}

// openWatch opens the watch of a process that is where it is to be counted, if it needs one.
func (l *Launch) openWatch() error {
	b := l.box
	if !b.watched && !b.stays() {
		return nil
	}
	limit := int64(0)
	if b.watched {
		limit = b.policy.MemoryBytes
	}
	w, err := openWatch(l.cmd.Process.Pid, limit, b.stays())
	if errors.Is(err, rss.ErrEnded) {
		return nil
	}
	if err != nil {
		return b.failed("watch", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.shut {
		w.close()
		return nil
	}
	l.watch = w
	return nil
}

func (l *Launch) confirm(ctx context.Context) (*launcher.Trial, error) {
	l.dropTheirs()
	stop := context.AfterFunc(ctx, func() { _ = l.ctl.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	t, err := l.converse()
	_ = l.ctl.Close() // nothing more is said
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return t, err
}

// converse tells the launcher what to do, puts it where it is counted meanwhile, and hears how it went. Its silence is success: the socket
// closed when it became the plugin.
func (l *Launch) converse() (*launcher.Trial, error) {
	l.box.restrict(&l.spec)
	body := launcher.Bytes(&l.spec)
	if len(body) > launcher.MessageBytes {
		return nil, fmt.Errorf("arguments and environment of %d bytes, the limit is %d", len(body), launcher.MessageBytes)
	}
	if _, err := l.ctl.Write(append(binary.LittleEndian.AppendUint32(nil, uint32(len(body))), body...)); err != nil {
		return nil, l.box.failed("control socket", err)
	}
	if l.group != nil {
		if err := l.group.add(l.cmd.Process.Pid); err != nil && !errors.Is(err, unix.ESRCH) {
			return nil, l.box.failed("cgroup", err)
		}
	}
	if err := l.openWatch(); err != nil {
		return nil, err
	}
	if _, err := l.ctl.Write([]byte{launcher.InPlace}); err != nil && !errors.Is(err, unix.EPIPE) { // it has given up, and says why
		return nil, l.box.failed("control socket", err)
	}
	var tried *launcher.Trial
	ready := false
	for {
		what, body, err := l.hear()
		switch {
		case errors.Is(err, io.EOF) || errors.Is(err, unix.ECONNRESET):
			if !ready { // one that was killed falls silent too
				return nil, l.box.failed("launcher", errors.New("it ended before the plugin was started"))
			}
			return tried, nil
		case err != nil:
			return nil, l.box.failed("control socket", err)
		}
		switch what {
		case launcher.SayFolder: // which hear has taken
		case launcher.SayReady:
			ready = true
		case launcher.SayTried:
			ready = true
			tried = &launcher.Trial{}
			if err := launcher.Parse(body, tried); err != nil {
				return nil, l.box.failed("control socket", err)
			}
		case launcher.SayError:
			var f launcher.Failure
			if err := launcher.Parse(body, &f); err != nil {
				return nil, l.box.failed("control socket", err)
			}
			return nil, l.box.failed(f.Stage, &numberedError{errors.New(f.Message), unix.Errno(f.Errno)})
		}
	}
}

// hear reads one message, with the folder if it carries one.
func (l *Launch) hear() (what byte, body []byte, err error) {
	var head [5]byte
	rights := make([]byte, unix.CmsgSpace(4))
	n, m, _, _, err := l.ctl.ReadMsgUnix(head[:], rights)
	if err == nil && n == 0 {
		err = io.EOF
	}
	if err != nil {
		return 0, nil, err
	}
	if err := l.take(rights[:m]); err != nil {
		return 0, nil, err
	}
	if _, err := io.ReadFull(l.ctl, head[n:]); err != nil {
		return 0, nil, err
	}
	size := binary.LittleEndian.Uint32(head[1:])
	if size > launcher.MessageBytes {
		return 0, nil, fmt.Errorf("a message of %d bytes, the limit is %d", size, launcher.MessageBytes)
	}
	body = make([]byte, size)
	_, err = io.ReadFull(l.ctl, body)
	return head[0], body, err
}

// take keeps the descriptor that came with a message.
func (l *Launch) take(rights []byte) error {
	if len(rights) == 0 {
		return nil
	}
	messages, err := unix.ParseSocketControlMessage(rights)
	if err != nil {
		return err
	}
	for _, m := range messages {
		fds, err := unix.ParseUnixRights(&m)
		if err != nil {
			return err
		}
		for _, fd := range fds {
			f := os.NewFile(uintptr(fd), launcher.Sockets)
			l.mu.Lock()
			if l.shut || l.folder != nil {
				_ = f.Close()
			} else {
				l.folder = f
			}
			l.mu.Unlock()
		}
	}
	return nil
}
