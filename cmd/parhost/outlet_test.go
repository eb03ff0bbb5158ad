package main

import (
	"errors"
	"io"
	"strings"
	"testing"
	"time"
)

func TestAnOutletIsGivenUpWhenNobodyReads(t *testing.T) {
	r, w := io.Pipe()
	o := newOutlet(w)
	lines := strings.Repeat("a line\n", 30_000)
	first := lines[:pieceEnd([]byte(lines))]
	wrote := make(chan error, 1)
	n := 0
	go func() {
		var err error
		n, err = o.Write([]byte(lines))
		wrote <- err
	}()
	if got, err := io.ReadAll(io.LimitReader(r, int64(len(first)))); err != nil || string(got) != first {
		t.Fatalf("the first piece: got %d bytes, %v, want whole lines", len(got), err)
	}
	o.hurry(10 * time.Millisecond)
	select {
	case err := <-wrote:
		if !errors.Is(err, errNotRead) || n != len(first) {
			t.Errorf("got %d bytes, %v, want %d, %v", n, err, len(first), errNotRead)
		}
	case <-time.After(time.Minute):
		t.Fatal("still waiting after a minute")
	}
	if got, cut := o.account(); got != strings.Count(first, "\n") || cut {
		t.Errorf("got %d whole lines, cut %v, want %d", got, cut, strings.Count(first, "\n"))
	}
	if _, err := o.Write([]byte("x")); !errors.Is(err, errNotRead) {
		t.Errorf("a later write: got %v, want the same error at once", err)
	}
	o.close()
	_ = r.Close()
}

func TestAnOutletKeepsNoCopyOfALargeLine(t *testing.T) {
	r, w := io.Pipe()
	defer r.Close()
	o := newOutlet(w)
	defer o.close()
	line := strings.Repeat("x", 3*largePiece) + "\n"
	read := make(chan string)
	go func() {
		text := make([]byte, len(line))
		n, _ := io.ReadFull(r, text)
		read <- string(text[:n])
	}()
	if n, err := o.Write([]byte(line)); n != len(line) || err != nil {
		t.Fatalf("got %d bytes, %v, want %d", n, err, len(line))
	}
	if got := <-read; got != line {
		t.Errorf("got %d bytes that differ from the line of %d", len(got), len(line))
	}
	if cap(o.text) >= largePiece {
		t.Errorf("the outlet keeps %d bytes, want less than %d", cap(o.text), largePiece)
	}
}
