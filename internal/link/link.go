package link

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"
)

const (
	headerBytes = 4
	bufferBytes = 64 << 10 // of the reader; larger messages are read as they come
	keepBytes   = 1 << 20  // a buffer that one large message has made larger is let go
)

// Link is one end. One goroutine at a time may call Send and CloseSend, one Recv; Close anyone.
type Link struct {
	// Check says what is wrong with a message before it is decoded; nil: nothing is. It is to be set before Recv is called.
	Check func(message []byte) error

	in     source // the file or a ring
	out    sink   // likewise
	files  files
	rings  *rings // nil if there are none; they are used if in and out say so
	reader *bufio.Reader
	most   int    // bytes of a message that is taken
	frame  []byte // the last that was sent
}

// files are the channels to the other end. Rings need them too, to wake it.
type files struct {
	in  *os.File
	out *outlet
}

// source is what messages come from.
type source interface {
	io.Reader
	// expire bounds what waits in Read, now and from now on.
	expire(at time.Time)
}

// sink is what messages go to.
type sink interface {
	// write writes as much of b as there is room for, and returns the rest. It does not wait.
	write(b []byte) (rest []byte, err error)
	// awaitRoom waits until there is room, the sink is closed or its time is over.
	awaitRoom() error
	// expire bounds what waits in awaitRoom, now and from now on.
	expire(at time.Time)
	io.Closer
}

// inlet is a file that messages come from.
type inlet struct{ *os.File }

var _ source = inlet{}

func (i inlet) expire(at time.Time) { _ = i.SetReadDeadline(at) }

func newLink(in *os.File, out *outlet, most int) *Link {
	return &Link{in: inlet{in}, out: out, files: files{in, out}, reader: bufio.NewReaderSize(in, bufferBytes), most: most}
}

// Send writes a message. If the other end does not read and there is no room for it, full is called once, unless it is nil, and
// what it returns is called when the wait is over.
func (l *Link) Send(m proto.Message, full func() (stop func())) error {
	size := proto.Size(m)
	l.frame = binary.LittleEndian.AppendUint32(slices.Grow(l.frame[:0], headerBytes+size), uint32(size))
	var err error
	if l.frame, err = (proto.MarshalOptions{UseCachedSize: true}).MarshalAppend(l.frame, m); err != nil {
		return err
	}
	rest := l.frame
	if cap(l.frame) > keepBytes {
		l.frame = nil
	}
	rest, err = l.out.write(rest)
	if len(rest) == 0 || err != nil {
		return err
	}
	if full != nil {
		defer full()()
	}
	for len(rest) > 0 && err == nil {
		if err = l.out.awaitRoom(); err == nil {
			rest, err = l.out.write(rest)
		}
	}
	return err
}

var (
	// ErrFrame is matched by the error of a frame that holds no message, and of a ring that the other end does not use as it must.
	ErrFrame = errors.New("a frame that is no message")
	// ErrRefused is matched by that of one which Check refuses.
	ErrRefused = errors.New("a frame that is not taken")
	// ErrTooLarge is the error of a message that is larger than the limit.
	ErrTooLarge = errors.New("a message that is too large")
)

// Recv reads the next message into m. The error is io.EOF when the other end has closed, or io.ErrUnexpectedEOF in the middle of a
// large one. It matches [ErrTooLarge] for a message beyond the limit, [ErrFrame] for a frame that holds no message, and [ErrRefused] for a
// message that Check refuses.
func (l *Link) Recv(m proto.Message) error {
	header, err := l.reader.Peek(headerBytes)
	if err != nil {
		return err
	}
	size := int64(binary.LittleEndian.Uint32(header))
	if size > int64(l.most) {
		return fmt.Errorf("%w: it is %d bytes, the limit is %d", ErrTooLarge, size, l.most)
	}
	var message []byte
	if frame := headerBytes + int(size); frame <= bufferBytes {
		if message, err = l.reader.Peek(frame); err != nil {
			return err
		}
		message = message[headerBytes:]
		defer func() { _, _ = l.reader.Discard(frame) }()
	} else {
		_, _ = l.reader.Discard(headerBytes)
		if message, err = readAll(l.reader, int(size)); err != nil {
			return err
		}
	}
	if l.Check != nil {
		if err := l.Check(message); err != nil {
			return fmt.Errorf("%w: %w", ErrRefused, err)
		}
	}
	if err := proto.Unmarshal(message, m); err != nil {
		return fmt.Errorf("%w: %w", ErrFrame, err)
	}
	return nil
}

// readAll reads size bytes, and takes memory only as they come: the other end may promise what it does not send.
func readAll(r io.Reader, size int) ([]byte, error) {
	var b []byte
	for len(b) < size {
		from := len(b)
		b = slices.Grow(b, min(size-from, max(bufferBytes, from)))
		b = b[:min(size, cap(b))]
		if _, err := io.ReadFull(r, b[from:]); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// expire bounds what waits at the link, now and from now on.
func (l *Link) expire(at time.Time) {
	l.in.expire(at)
	l.out.expire(at)
}

// CloseSend tells the other end that nothing more comes.
func (l *Link) CloseSend() error { return l.out.Close() }

// Close ends both directions, and whatever waits there.
func (l *Link) Close() {
	l.rings.close()
	_ = l.files.in.Close()
	_ = l.files.out.Close()
}
