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

// outlet is stdout or stderr. Each Write returns when all of its text is written, when writing fails, or when the outlet is given up: a
// goroutine of the outlet does the writing, so a reader that does not read keeps nobody else from ending.
//
// The text goes out in pieces that end with a line, and nothing else comes between them.
type outlet struct {
	w      io.Writer
	serve  sync.Once
	pieces chan []byte
	wrote  chan written
	given  chan struct{} // closed when the outlet is given up, or closed
	giveUp sync.Once
	busy   atomic.Int64 // number of the piece that is being written, 0 between pieces

	mu     sync.Mutex // held by the Write that has its turn
	text   []byte     // the copy that the goroutine writes, unless the piece is large
	piece  int64      // how many there have been
	lines  int        // whole lines written
	cut    bool       // the last line written has no end
	err    error      // the first one; nothing is written after it
	closed bool

	closedAtStart bool // the program was started without the stream
}

type written struct {
	n   int
	err error
}

var errNotRead = errors.New("nobody reads it")

// pieceBytes is how much an outlet writes at once, if lines are no longer. After each piece it is known that somebody reads.
const pieceBytes = 64 << 10

// largePiece is the size in bytes from which on a piece, which is one line then, is written from the memory of the caller of Write. A copy would take as
// much again. If the outlet is given up meanwhile, Write returns an error while its goroutine may still read that memory: the caller must not change it.
const largePiece = 1 << 20

func newOutlet(w io.Writer) *outlet {
	return &outlet{w: w, pieces: make(chan []byte), wrote: make(chan written, 1), given: make(chan struct{})}
}

// outlets are stdout and stderr. It is one and the same if both lead to one file, so that no line of one is written into a line of the other.
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

// hurry gives up each of the two that takes nothing for so long.
func (o *outlets) hurry(patience time.Duration) {
	o.out.hurry(patience)
	o.err.hurry(patience)
}

// close ends what the outlets have started.
func (o *outlets) close() {
	o.out.close()
	o.err.close()
}

// sameStream reports whether two streams lead to one file.
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

// pieceEnd returns how much of text to write at once: whole lines, as many as fit into a piece, but at least one.
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

// put writes one piece. Called with mu held.
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

// run writes the pieces, until the outlet is closed.
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

// hurry gives the outlet up as soon as it takes nothing for so long.
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

// drop gives the outlet up.
func (o *outlet) drop() { o.giveUp.Do(func() { close(o.given) }) }

// failure returns the first error of writing, nil if there was none.
func (o *outlet) failure() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err
}

// account returns what has been written in all: the number of whole lines, and whether a line without its end follows them.
func (o *outlet) account() (lines int, cut bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.lines, o.cut
}

// close ends the goroutine of the outlet, if it is not waiting for a reader. Nothing may be written any more.
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
