package main

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/parhost/parhost/host"
)

// keyboard are the keys of a terminal while it is open.
type keyboard interface {
	// Read returns what was typed since the last Read. Close also ends a Read that waits, and makes the terminal what it was before.
	io.ReadCloser
}

// steering is what keys do with a run: the keys of the terminal, and those of the page.
type steering struct {
	pool       *host.Pool
	interrupts chan<- os.Signal

	drained sync.Once

	mu      sync.Mutex
	workers int // that the pool is to have
}

func (s *steering) pause(paused bool) {
	if paused {
		s.pool.Pause()
	} else {
		s.pool.Resume()
	}
}

// resize asks for more workers, or for fewer.
func (s *steering) resize(by int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	wish := s.workers + by
	if wish < 1 {
		return errors.New("the last worker stays")
	}
	err := s.pool.Resize(wish)
	if err == nil {
		s.workers = wish
	}
	return err
}

// drain lets running items end, and begins no others. Once more it does nothing: a second interrupt would kill what runs.
func (s *steering) drain() {
	s.drained.Do(func() {
		select {
		case s.interrupts <- os.Interrupt:
		default: // two are waiting already
		}
	})
}

// watchKeys lets keys steer the run, if the live view is shown and no other program reads the terminal. The returned function ends that.
func (r *itemRun) watchKeys(steer *steering) (stop func()) {
	if !r.view.shown || r.input == "-" || r.streams.out.isPiped() { // a pager reads the terminal, too
		return func() {}
	}
	keys, err := openKeyboard()
	if err != nil {
		return func() {} // the view does not show them either
	}
	r.view.keys.Store(true)
	ctx, cancel := context.WithCancel(context.Background())
	var reading sync.WaitGroup
	reading.Go(func() {
		typed := make([]byte, 64)
		for {
			n, err := keys.Read(typed)
			if err != nil {
				return
			}
			if typed[0] == escapeKey { // an arrow, or a letter with Alt
				continue
			}
			for _, key := range typed[:n] {
				r.press(ctx, key, steer)
			}
		}
	})
	return func() {
		cancel()
		r.view.keys.Store(false)
		r.view.armed.Store(nil)
		_ = keys.Close()
		reading.Wait()
	}
}

// escapeKey begins what keys send that are no character.
const escapeKey = 0x1b

// press does what a key says.
func (r *itemRun) press(ctx context.Context, key byte, steer *steering) {
	armed := r.view.armed.Swap(nil) // one letter, typed for a command that is to come, ends neither a run nor an item
	again := armed != nil && armed.key == key
	item := steer.pool.State().Waiting
	if (key == 'd' || key == 'k' && item.Worker > 0) && !again {
		r.view.armed.Store(&armedKey{key, item})
		return
	}
	switch key {
	case 'p':
		steer.pause(!steer.pool.State().Paused)
	case '+', '=', '-':
		by := 1
		if key == '-' {
			by = -1
		}
		if err := steer.resize(by); err != nil {
			r.say("parhost: %v", err)
		}
	case 's':
		r.showStack(ctx, steer, item)
	case 'k':
		if !again {
			r.say("parhost: %s", nothingRuns)
			return
		}
		if err := steer.pool.CancelItem(armed.item.Worker, armed.item.Item); err != nil {
			r.say("parhost: %v", err)
			return
		}
		r.say("parhost: item %d on worker %d is cancelled", armed.item.Item, armed.item.Worker)
	case 'd':
		steer.drain()
	}
}

// armedKey is a key that has to be pressed twice and has been pressed once, and the item that had been running for longest then.
type armedKey struct {
	key  byte
	item host.Waiting
}

const nothingRuns = "no item runs, as far as the workers show it"

// showStack shows what the worker of the item that has been running for longest is doing.
func (r *itemRun) showStack(ctx context.Context, steer *steering, item host.Waiting) {
	if item.Worker == 0 {
		r.say("parhost: %s", nothingRuns)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, stackTime)
	defer cancel()
	text, err := steer.pool.Stack(ctx, item.Worker)
	if err != nil {
		r.say("parhost: worker %d: %v", item.Worker, err)
		return
	}
	r.say("parhost: worker %d, which runs item %d:\n%s", item.Worker, item.Item, strings.TrimRight(text, "\n"))
}

// stackTime is how long a worker may take to say what it does.
const stackTime = 5 * time.Second
