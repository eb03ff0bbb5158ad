package cluster

import (
	"encoding/json"
	"iter"
	"slices"
	"sync"

	"github.com/parhost/parhost/internal/relay"
)

// itemQueue holds items that have been read and belong to no batch yet.
type itemQueue struct {
	mu      sync.Mutex
	room    *sync.Cond        // signalled when items leave, or the queue is closed
	items   []json.RawMessage // from head on
	head    int
	bytes   int
	most    int // items that it holds at most
	least   int // items that it holds however large they are
	ended   bool
	closed  bool
	err     error
	changed chan struct{} // has a value when there is more to see
}

const (
	mostQueued      = 1 << 15
	mostQueuedBytes = 16 << 20
)

func newItemQueue() *itemQueue {
	q := &itemQueue{changed: make(chan struct{}, 1), most: mostQueued}
	q.room = sync.NewCond(&q.mu)
	return q
}

// read fills the queue, until the items end or the queue is closed. A panic of items ends it, and is raised by whoever takes the items.
func (q *itemQueue) read(items iter.Seq[json.RawMessage]) {
	whole := false
	defer func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		if q.ended = true; !whole {
			q.err = &relay.BrokenError{Value: recover()}
		}
		q.tell()
	}()
	for item := range items {
		if !q.add(item) {
			break
		}
	}
	whole = true
}

func (q *itemQueue) add(item json.RawMessage) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	for !q.closed && q.count() > 0 && (q.count() >= q.most || q.bytes >= mostQueuedBytes && q.count() >= q.least) {
		q.room.Wait()
	}
	q.items = append(q.items, item)
	if q.bytes += len(item); q.count() == 1 || q.count()%64 == 0 {
		q.tell()
	}
	return !q.closed
}

func (q *itemQueue) tell() {
	select {
	case q.changed <- struct{}{}:
	default:
	}
}

func (q *itemQueue) count() int { return len(q.items) - q.head }

// take returns the next items: at most n of them, and of at most limit bytes unless it is one. It returns none if there are fewer than n and few is false,
// unless no more come.
func (q *itemQueue) take(n, limit int, few bool) []json.RawMessage {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.count() == 0 || q.count() < n && !few && !q.ended && q.bytes < limit {
		return nil
	}
	waiting := q.items[q.head:]
	count, size := 0, 0
	for count < min(n, len(waiting)) && (count == 0 || size+len(waiting[count]) <= limit) {
		size += len(waiting[count])
		count++
	}
	taken := slices.Clone(waiting[:count])
	clear(waiting[:count])
	q.head, q.bytes = q.head+count, q.bytes-size
	if q.head > len(q.items)/2 { // so each item is moved once at the most, on average
		rest := copy(q.items, q.items[q.head:])
		clear(q.items[rest:])
		q.items, q.head = q.items[:rest], 0
	}
	q.room.Broadcast()
	return taken
}

// hold makes the queue hold n items, if it holds fewer.
func (q *itemQueue) hold(n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if n > q.least {
		q.least, q.most = n, max(q.most, n)
		q.room.Broadcast()
	}
}

// left returns how many items wait, and whether no more come.
func (q *itemQueue) left() (n int, ended bool, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.count(), q.ended, q.err
}

// close makes the reader stop at its next item.
func (q *itemQueue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.room.Broadcast()
}
