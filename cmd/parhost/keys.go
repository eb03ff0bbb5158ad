package main

import (
	"io"
	"os"
	"sync"

	"github.com/parhost/parhost/host"
)

// keyboard are the keys of a terminal while it is open.
type keyboard interface {
	// Read returns what was typed since the last Read. Close also ends a Read that waits, and makes the terminal what it was before.
	io.ReadCloser
}

// watchKeys lets keys steer the run, if the live view is shown and no other program reads the terminal. The returned function ends that.
func (r *itemRun) watchKeys(pool *host.Pool, workers int, interrupts chan<- os.Signal) (stop func()) {
	if !r.view.shown || r.input == "-" || r.streams.out.isPiped() { // a pager reads the terminal, too
		return func() {}
	}
	keys, err := openKeyboard()
	if err != nil {
		return func() {} // the view does not show them either
	}
	r.view.keys.Store(true)
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
				workers = r.press(key, pool, workers, interrupts)
			}
		}
	})
	return func() {
		r.view.keys.Store(false)
		r.view.ending.Store(false)
		_ = keys.Close()
		reading.Wait()
	}
}

// escapeKey begins what keys send that are no character.
const escapeKey = 0x1b

// press does what a key says. It returns how many workers the pool is to have.
func (r *itemRun) press(key byte, pool *host.Pool, workers int, interrupts chan<- os.Signal) int {
	again := r.view.ending.Swap(key == 'd' && !r.view.ending.Load()) // one letter, typed for a command that is to come, does not end a run
	switch key {
	case 'p':
		if pool.State().Paused {
			pool.Resume()
		} else {
			pool.Pause()
		}
	case '+', '=', '-':
		wish := workers + 1
		if key == '-' {
			wish = workers - 1
		}
		if wish < 1 {
			return workers
		}
		if err := pool.Resize(wish); err != nil {
			r.say("parhost: %v", err)
			return workers
		}
		return wish
	case 'd':
		if again {
			select {
			case interrupts <- os.Interrupt:
			default: // two are waiting already
			}
		}
	}
	return workers
}
