package joblog

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

const (
	blockBytes  = 1 << 20 // read at once
	mostHeader  = 64 << 10
	windowLeast = 4 << 10
	windowMost  = 256 << 10
)

// scan calls each with every whole line of the first size bytes, without its line break, and with its place. It returns where the
// last of them ends: what follows is the beginning of a line that was not written to its end. The error is a [*LineError] without its path
// for a line of more than most bytes. Scan holds less than four times as much.
func scan(r io.ReaderAt, size int64, most int, each func(at int64, line []byte)) (end int64, err error) {
	block := make([]byte, 0, blockBytes)
	at, number := int64(0), 1 // place of the block; number of the line under way
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
		case errors.Is(err, io.EOF): // shorter than it was: nobody else should write, but what is gone is gone
			return end, nil
		case err != nil:
			return end, err
		}
	}
}

// window reads lines at places that mostly follow one another.
type window struct {
	r    io.ReaderAt
	most int // bytes of a line
	at   int64
	data []byte // of the file, from at on; lines that were given out share it, so it is never written again
	next int    // how much to read
}

// line returns the line that begins at a place, without its line break.
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
		case n > w.most: // there was a line when the file was scanned
			return nil, fmt.Errorf("the record at byte %d has become longer than %d bytes", at, w.most)
		}
	}
}
