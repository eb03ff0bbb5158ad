package child

import (
	"math"
	"os"
	"sync"
	"sync/atomic"
)

// source is the host's end of a worker's stdout or stderr. It knows which bytes the worker wrote before it was ready. Those bytes belong to no item.
type source struct {
	file  *os.File
	mu    sync.Mutex
	count int64        // bytes that have been read
	ready atomic.Int64 // bytes that the worker wrote before it was ready; before that is known, math.MaxInt64
}

func openSource(f *os.File) *source {
	s := &source{file: f}
	s.ready.Store(math.MaxInt64)
	return s
}

// position returns how many bytes have been read from the source.
func (s *source) position() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count
}

// markReady is called when the worker is ready, before the host sends the first item.
func (s *source) markReady() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ready.Store(s.count + unread(s.file))
}
