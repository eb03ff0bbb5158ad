package litter

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
)

// Bin is a folder in which others lie, and removes those in the background that nobody needs any more. Its methods may be called from any
// goroutine.
type Bin struct {
	folder string
	cancel context.CancelFunc
	full   chan struct{} // has a word when something waits
	done   sync.WaitGroup

	mu      sync.Mutex
	dropped int
	waiting []string
}

// Open makes a bin of a folder, which must be closed.
func Open(folder string) *Bin {
	b := &Bin{folder: folder, full: make(chan struct{}, 1)}
	ctx, cancel := context.WithCancel(context.Background())
	b.cancel = cancel
	b.done.Go(func() {
		for {
			select {
			case <-b.full:
				b.empty(ctx)
			case <-ctx.Done():
				return
			}
		}
	})
	return b
}

// Drop takes a folder out of its place, which must be on the bin's file system, and returns at once. If it cannot be moved, it stays.
func (b *Bin) Drop(path string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	gone := filepath.Join(b.folder, fmt.Sprintf("gone-%d", b.dropped))
	b.dropped++
	if os.Rename(path, gone) != nil {
		return
	}
	b.waiting = append(b.waiting, gone)
	select {
	case b.full <- struct{}{}:
	default:
	}
}

// empty removes what waits.
func (b *Bin) empty(ctx context.Context) {
	b.mu.Lock()
	paths := b.waiting
	b.waiting = nil
	b.mu.Unlock()
	for _, path := range paths {
		_ = Remove(ctx, path) // what cannot be removed now is tried once more with the bin
	}
}

// Close removes the bin with all that is in it, also what was not dropped. It gives up when ctx ends, as Remove does.
func (b *Bin) Close(ctx context.Context) error {
	b.cancel()
	b.done.Wait()
	return Remove(ctx, b.folder)
}
