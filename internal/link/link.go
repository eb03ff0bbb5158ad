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
	bufferBytes = 64 << 10 // size of the reader's buffer; larger messages are read as they come
	keepBytes   = 1 << 20  // a larger send buffer is not kept for the next message
)

// Link is one end of a link. One goroutine at a time may call Send and CloseSend, and one may call Recv. Any goroutine may call Close.
type Link struct {
	// Check returns an error for a message that must not be decoded. It may be nil, and must be set before the first call of Recv.
	Check func(message []byte) error
	// Soon reports whether the next messages are likely to follow within a few microseconds, so that it costs less CPU time to poll for them than to sleep and be
	// woken. The host decides for both ends. MayPoll does the same for this end alone: it is called each time before this end polls. Both may be nil, and must be
	// set before the call of Offer.
	Soon, MayPoll func() bool

	in     source // the file, or a ring
	out    sink   // the file, or a ring
	files  files
	rings  *rings // nil if there are none; used once in and out point to them
	reader *bufio.Reader
	most   int    // most bytes of a message to receive
	frame  []byte // send buffer, with the last frame
}

// files are the channels to the other end. A link with rings needs them too, to wake the other end.
type files struct {
	in  *os.File
	out *outlet
}

// source is where a link reads messages: a file or a ring.
type source interface {
	io.Reader
	// expire sets the deadline for present and future calls of Read.
	expire(at time.Time)
}

// sink is where a link writes messages: a file or a ring.
type sink interface {
	// write writes as much of b as there is room for, and returns the rest. It does not block.
	write(b []byte) (rest []byte, err error)
	// awaitRoom waits until there is room, the sink is closed or its deadline has passed.
	awaitRoom() error
	// expire sets the deadline for present and future calls of awaitRoom.
	expire(at time.Time)
	io.Closer
}

// inlet is a file as a source.
type inlet struct{ *os.File }

var _ source = inlet{}

func (i inlet) expire(at time.Time) { _ = i.SetReadDeadline(at) }

func newLink(in *os.File, out *outlet, most int) *Link {
	return &Link{in: inlet{in}, out: out, files: files{in, out}, reader: bufio.NewReaderSize(in, bufferBytes), most: most}
}

// Send writes a message, and blocks while there is no room for it. If full is not nil and Send has to block, Send calls full once before, and the
// function that full returned after.
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
	// ErrFrame means that a frame is not a valid message, or that the other end uses a ring against the protocol.
	ErrFrame = errors.New("a frame that is no message")
	// ErrRefused means that [Link.Check] refused a message.
	ErrRefused = errors.New("a frame that is not taken")
	// ErrTooLarge means that a message exceeds the size limit.
	ErrTooLarge = errors.New("a message that is too large")
)

// Recv reads the next message into m. The error is io.EOF if the other end has closed, or io.ErrUnexpectedEOF if it closed in the middle of a
// message that is larger than the buffer. It matches [ErrTooLarge] for a message beyond the limit, [ErrFrame] for a frame that is not a valid
// message, and [ErrRefused] for a message that Check refuses.
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

// readAll reads size bytes. It allocates memory only as bytes come, because the other end may announce more than it sends.
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

// expire sets the deadline for all calls that wait at the link, present and future.
func (l *Link) expire(at time.Time) {
	l.in.expire(at)
	l.out.expire(at)
}

// CloseSend tells the other end that no more messages come.
func (l *Link) CloseSend() error { return l.out.Close() }

// Close closes both directions, and ends all calls that wait there.
func (l *Link) Close() {
	l.rings.close()
	_ = l.files.in.Close()
	_ = l.files.out.Close()
}
