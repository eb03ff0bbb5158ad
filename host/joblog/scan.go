package joblog

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

const (
	blockBytes  = 1 << 20 // bytes to read at once; it doubles while a line does not fit
	maxHeader   = 64 << 10
	windowLeast = 4 << 10
	windowMost  = 256 << 10
)

// scan calls each for every complete line in the first size bytes, with the line's offset and without its line break. It returns the offset at which
// the last complete line ends; the rest is an incomplete line. The error is a [*LineError] without its path if a line is longer than most bytes. scan
// holds less than four times most bytes in memory.
func scan(r io.ReaderAt, size int64, most int, each func(at int64, line []byte)) (end int64, err error) {
	block := make([]byte, 0, blockBytes)
	at, number := int64(0), 1 // at: offset of the block; number: number of the current line
	for {
		from := 0
		for {
			n := bytes.IndexByte(block[from:], '\n')
			if n < 0 {
				break
			}
			if n > most {
				return end, &LineError{Line: number, Limit: most}
			}
			each(at+int64(from), block[from:from+n])
			from += n + 1
			end = at + int64(from)
			number++
		}
		rest := len(block) - from
		if rest > most {
			return end, &LineError{Line: number, Limit: most}
		}
		at += int64(len(block) - rest)
		if rest == cap(block) {
			block = append(make([]byte, 0, 2*cap(block)), block[from:]...)
		} else {
			block = block[:copy(block, block[len(block)-rest:])]
		}
		if at+int64(rest) >= size {
			return end, nil
		}
		n, err := r.ReadAt(block[rest:min(int64(cap(block)), size-at)], at+int64(rest))
		block = block[:rest+n]
		switch {
		case n > 0:
		case errors.Is(err, io.EOF): // the file has shrunk: another process has cut it
			return end, nil
		case err != nil:
			return end, err
		}
	}
}

// window reads lines at offsets that mostly increase, and reads ahead.
type window struct {
	r    io.ReaderAt
	most int // largest length of a line in bytes
	at   int64
	data []byte // bytes of the file from offset at on; lines that were returned share this memory, so it is never overwritten
	next int    // bytes to read next time
}

// line returns the line that begins at the offset at, without its line break.
func (w *window) line(at int64) ([]byte, error) {
	if at >= w.at && at < w.at+int64(len(w.data)) {
		if n := bytes.IndexByte(w.data[at-w.at:], '\n'); n >= 0 {
			return w.data[at-w.at:][:n:n], nil
		}
		w.next = min(2*w.next, windowMost)
	} else if end := w.at + int64(len(w.data)); at == end && w.next > 0 {
		w.next = min(2*w.next, windowMost)
	} else {
		w.next = windowLeast
	}
	for size := w.next; ; size *= 2 {
		data := make([]byte, size)
		n, err := w.r.ReadAt(data, at)
		w.at, w.data = at, data[:n:n]
		if end := bytes.IndexByte(w.data, '\n'); end >= 0 {
			return w.data[:end:end], nil
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil, io.ErrUnexpectedEOF
		case err != nil:
			return nil, err
		case n > w.most: // scan found a line of at most w.most bytes here
			return nil, fmt.Errorf("the record at byte %d has become longer than %d bytes", at, w.most)
		}
	}
}
