package main

import (
	"bytes"
	"cmp"
	"errors"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// outlet is stdout or stderr. Write returns when all of its text is written, when writing fails, or when the outlet is given up. A goroutine of the
// outlet does the writing, so that a reader that does not read cannot stop the program from ending.
//
// The text is written in pieces of whole lines. No other text comes between the pieces of one Write.
type outlet struct {
	w      io.Writer
	serve  sync.Once
	pieces chan []byte
	wrote  chan written
	given  chan struct{} // closed when the outlet is given up or closed
	giveUp sync.Once
	busy   atomic.Int64 // number of the piece that is being written; 0 between pieces

	mu     sync.Mutex // held by the current Write
	text   []byte     // copy of the piece that the goroutine writes, unless the piece is large
	piece  int64      // number of pieces so far
	lines  int        // complete lines written so far
	cut    bool       // the last line that was written is incomplete
	err    error      // first error; nothing is written after it
	closed bool

	closedAtStart bool // the stream was closed when the program started
}

type written struct {
	n   int
	err error
}

var errNotRead = errors.New("nobody reads it")

// pieceBytes is the largest piece in bytes, unless a single line is longer. Each piece that is written proves that the reader still reads.
const pieceBytes = 64 << 10

// largePiece is the size in bytes from which a piece, which is then a single line, is not copied but written from the memory of Write's caller. A
// copy would take as much memory again. If the outlet is given up during the write, Write returns an error while the goroutine may still read that
// memory, so the caller must not change it.
const largePiece = 1 << 20

func newOutlet(w io.Writer) *outlet {
	return &outlet{w: w, pieces: make(chan []byte), wrote: make(chan written, 1), given: make(chan struct{})}
}

// outlets are stdout and stderr. Both are the same outlet if both streams lead to one file, so that lines of one never split lines of the other.
type outlets struct{ out, err *outlet }

func openOutlets(stdout, stderr io.Writer) *outlets {
	o := &outlets{out: newOutlet(stdout)}
	o.err = o.out
	if !sameStream(stdout, stderr) {
		o.err = newOutlet(stderr)
	}
	if wasClosed(stdout) {
		o.out.closedAtStart = true
	}
	return o
}

// hurry gives up each outlet on which one piece makes no progress for the time patience.
func (o *outlets) hurry(patience time.Duration) {
	o.out.hurry(patience)
	o.err.hurry(patience)
}

// close ends the goroutines of the outlets.
func (o *outlets) close() {
	o.out.close()
	o.err.close()
}

// sameStream reports whether two streams lead to the same file.
func sameStream(a, b io.Writer) bool {
	f, ok1 := a.(*os.File)
	g, ok2 := b.(*os.File)
	if !ok1 || !ok2 {
		return false
	}
	one, err1 := f.Stat()
	two, err2 := g.Stat()
	return err1 == nil && err2 == nil && os.SameFile(one, two)
}

// Write is part of [io.Writer].
func (o *outlet) Write(text []byte) (n int, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.serve.Do(func() { go o.run() })
	for len(text) > 0 && o.err == nil {
		piece := text[:pieceEnd(text)]
		text = text[len(piece):]
		n += o.put(piece)
	}
	return n, o.err
}

// pieceEnd returns the length of the next piece of text: as many whole lines as fit into pieceBytes, but at least one.
func pieceEnd(text []byte) int {
	if len(text) <= pieceBytes {
		return len(text)
	}
	if i := bytes.LastIndexByte(text[:pieceBytes], '\n'); i >= 0 {
		return i + 1
	}
	if i := bytes.IndexByte(text[pieceBytes:], '\n'); i >= 0 {
		return pieceBytes + i + 1
	}
	return len(text)
}

// put writes one piece and returns how many bytes were written. The caller must hold mu.
func (o *outlet) put(piece []byte) int {
	text := piece
	if len(piece) < largePiece {
		o.text = append(o.text[:0], piece...)
		text = o.text
	}
	o.piece++
	o.busy.Store(o.piece)
	var done written
	select {
	case <-o.given:
		done.err = errNotRead
	case o.pieces <- text:
		select {
		case done = <-o.wrote:
		case <-o.given:
			done.err = errNotRead
		}
	}
	o.busy.Store(0)
	o.err = done.err
	o.lines += bytes.Count(piece[:done.n], []byte("\n"))
	if done.n > 0 {
		o.cut = piece[done.n-1] != '\n'
	}
	return done.n
}

// run writes pieces until the outlet is closed. It runs in the outlet's own goroutine.
func (o *outlet) run() {
	f, isFile := o.w.(*os.File)
	for piece := range o.pieces {
		var done written
		for {
			n, err := o.w.Write(piece[done.n:])
			done.n += n
			if done.err = err; err == nil || !isFile || !waitForRoom(f, err) {
				break
			}
		}
		o.wrote <- done
	}
}

// hurry gives the outlet up as soon as writing one piece takes longer than patience. It returns at once.
func (o *outlet) hurry(patience time.Duration) {
	go func() {
		last := int64(0)
		for {
			select {
			case <-o.given:
				return
			case <-time.After(patience):
			}
			now := o.busy.Load()
			if now != 0 && now == last {
				o.drop()
				return
			}
			last = now
		}
	}()
}

// drop gives the outlet up: the current and all later calls of Write fail.
func (o *outlet) drop() { o.giveUp.Do(func() { close(o.given) }) }

// writing reports whether a piece is being written right now.
func (o *outlet) writing() bool { return o.busy.Load() != 0 }

// failure returns the first error of writing, or nil.
func (o *outlet) failure() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err
}

// account returns the number of complete lines written so far, and whether an incomplete line follows them.
func (o *outlet) account() (lines int, cut bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.lines, o.cut
}

// close ends the goroutine of the outlet, unless the goroutine is blocked in a write. Later writes fail.
func (o *outlet) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return
	}
	o.closed, o.err = true, cmp.Or(o.err, os.ErrClosed)
	o.drop()
	close(o.pieces)
}
