package link

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"syscall"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

const (
	headerBytes = 4
	bufferBytes = 64 << 10 // of the reader; larger messages are read as they come
	keepBytes   = 1 << 20  // a buffer that one large message has made larger is let go
)

// Link is one end. One goroutine at a time may call Send and CloseSend, one Recv; Close anyone.
type Link struct {
	in, out *os.File
	writer  syscall.RawConn
	reader  *bufio.Reader
	most    int    // bytes of a message that is taken
	frame   []byte // the last that was sent
}

func newLink(in, out *os.File, most int) (*Link, error) {
	writer, err := out.SyscallConn()
	if err != nil {
		return nil, err
	}
	return &Link{in: in, out: out, writer: writer, reader: bufio.NewReaderSize(in, bufferBytes), most: most}, nil
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
	var stop func()
	failed := l.writer.Write(func(fd uintptr) (done bool) {
		var n int
		n, err = write(fd, rest)
		rest = rest[max(n, 0):]
		if !errors.Is(err, syscall.EAGAIN) {
			return err != nil || len(rest) == 0
		}
		err = nil
		if full != nil && stop == nil {
			stop = full()
		}
		return false
	})
	if stop != nil {
		stop()
	}
	return errors.Join(failed, err)
}

// Recv reads the next message into m. The error is io.EOF when the other end has closed, and has the code ResourceExhausted for a
// message larger than is taken.
func (l *Link) Recv(m proto.Message) error {
	header, err := l.reader.Peek(headerBytes)
	if err != nil {
		return ended(err, len(header) > 0)
	}
	size := int64(binary.LittleEndian.Uint32(header))
	if size > int64(l.most) {
		return status.Errorf(codes.ResourceExhausted, "message is %d bytes, the limit is %d", size, l.most)
	}
	if headerBytes+size <= bufferBytes {
		frame, err := l.reader.Peek(headerBytes + int(size))
		if err != nil {
			return ended(err, true)
		}
		err = proto.Unmarshal(frame[headerBytes:], m)
		_, _ = l.reader.Discard(len(frame))
		return err
	}
	_, _ = l.reader.Discard(headerBytes)
	message, err := readAll(l.reader, int(size))
	if err != nil {
		return ended(err, true)
	}
	return proto.Unmarshal(message, m)
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

// ended returns io.EOF for an end between two frames, however the other end came to it.
func ended(err error, within bool) error {
	switch gone := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF); {
	case gone && within:
		return fmt.Errorf("in the middle of a message: %w", io.ErrUnexpectedEOF)
	case gone:
		return io.EOF
	}
	return err
}

// expire bounds what waits at the link, now and from now on.
func (l *Link) expire(at time.Time) {
	_ = l.in.SetReadDeadline(at)
	_ = l.out.SetWriteDeadline(at)
}

// CloseSend tells the other end that nothing more comes.
func (l *Link) CloseSend() error { return l.out.Close() }

// Close ends both directions, and whatever waits there.
func (l *Link) Close() error {
	return errors.Join(l.in.Close(), l.out.Close())
}
