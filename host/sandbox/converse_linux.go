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

// Confirm waits until a started process has become the plugin. Otherwise the error names the stage that failed, and the process is about to end.
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

// openWatch opens the watch of a process, if it needs one. The process must already be in its cgroups.
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
	_ = l.ctl.Close() // both sides have said everything
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return t, err
}

// converse sends the launcher its spec, moves it into its cgroups meanwhile, and waits for the outcome. The socket closes when the launcher becomes
// the plugin, so the end of the messages after SayReady or SayTried means success.
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
	if _, err := l.ctl.Write([]byte{launcher.InPlace}); err != nil && !errors.Is(err, unix.EPIPE) { // EPIPE: it has given up, and says why
		return nil, l.box.failed("control socket", err)
	}
	var tried *launcher.Trial
	ready := false
	for {
		what, body, err := l.hear()
		switch {
		case errors.Is(err, io.EOF) || errors.Is(err, unix.ECONNRESET):
			if !ready { // the socket also closes if the launcher was killed
				return nil, l.box.failed("launcher", errors.New("it ended before the plugin was started"))
			}
			return tried, nil
		case err != nil:
			return nil, l.box.failed("control socket", err)
		}
		switch what {
		case launcher.SayFolder: // hear has kept its descriptor
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

// hear reads one message, and keeps the descriptor of the socket folder if the message carries one.
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

// take keeps the descriptor of the socket folder that came with a message.
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
