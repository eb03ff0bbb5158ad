package cluster

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/parhost/parhost/host/cluster/internal/engine"
)

// reply says what came of asking the engine for a batch.
type reply struct {
	b      *batch
	answer *answer
	place  uint64
	err    error
	took   time.Duration // to offer it; 0 if it was looked up
}

// ask begins to offer batches, and to look results up, as many at a time as the pace allows.
func (r *run) ask(ctx context.Context) {
	for len(r.pending) > 0 && r.asking < r.pace.most {
		b := r.pending[0]
		r.pending = r.pending[1:]
		r.asking++
		now := *b // the batch may change meanwhile, when a result comes
		r.owned.Go(func() {
			began := time.Now()
			reply := r.resolve(ctx, &now)
			reply.b = b
			if !now.seeks() {
				reply.took = time.Since(began)
			}
			select {
			case r.told <- reply:
			case <-ctx.Done():
			}
		})
	}
}

// seeks reports whether there may be a result of the batch that was not heard of.
func (b *batch) seeks() bool { return b.stored || b.patience > 0 }

// resolve looks for the stored result of a batch that has one, or is overdue. Without one it offers the batch.
func (r *run) resolve(ctx context.Context, b *batch) (is reply) {
	is.b = b
	if b.spare != nil {
		is.answer = b.spare
		return is
	}
	key := engine.Key{JobKey: r.job.key, First: b.first}
	if b.seeks() {
		s, err := r.sender.Lookup(ctx, key)
		if err == nil {
			if is.answer, err = decodeResults(s.Body); err == nil && is.answer.first != b.first {
				err = fmt.Errorf("the result of batch %d is under the name of batch %d", is.answer.first, b.first)
			}
			if err == nil {
				return is
			}
			is.answer, err = nil, fmt.Errorf("%w: %w", engine.ErrUnreadable, err)
		}
		if errors.Is(err, engine.ErrUnreadable) { // it would keep any other from being stored
			r.job.c.log.Warn("a stored result cannot be read, so it is removed, and its batch runs again", "job", r.job.key.Job, "first", b.first, "err", err)
			err = r.sender.Discard(ctx, key)
		}
		if err != nil && !errors.Is(err, engine.ErrNotFound) {
			is.err = err
			return is
		}
	}
	if b.last {
		return is
	}
	body, err := encodeBatch(r.job.entry.CreatedUnixNs, b.first, b.items)
	if err != nil {
		is.err = err
		return is
	}
	is.place, is.err = r.sender.Put(ctx, r.job.pool, key, body)
	return is
}

// cut makes a batch of the next items, if there is room for it. Items that have a stored result become a batch of the same items. A batch is cut when it can
// be offered at once, so that its size follows the latest measurement.
func (r *run) cut(few bool) bool {
	if r.asking+len(r.pending) >= r.pace.most || len(r.by) >= r.sizer.window() || r.bytes >= r.sizer.bytes() || r.stopped {
		return false
	}
	waiting, ended, _ := r.queue.left()
	size, limit := r.sizer.size(waiting, ended), batchBytes
	items, stored := r.known[r.next]
	if r.spare != nil {
		items, stored = len(r.spare.results), true
	}
	if stored {
		size, limit, few = items, math.MaxInt, false
		r.queue.hold(items)
	} else {
		for len(r.ahead) > 0 && r.ahead[0] <= r.next {
			r.ahead = r.ahead[1:]
		}
		if len(r.ahead) > 0 { // a batch must not reach into one that is stored
			size = int(min(uint64(size), r.ahead[0]-r.next))
		}
	}
	taken := r.queue.take(size, limit, few)
	if len(taken) == 0 {
		return false
	}
	delete(r.known, r.next)
	b := &batch{first: r.next, items: taken, stored: stored, spare: r.spare}
	r.spare = nil
	for _, item := range taken {
		b.bytes += len(item)
	}
	r.next += uint64(len(taken))
	r.bytes += b.bytes
	r.open = append(r.open, b)
	r.by[b.first] = b
	r.offer(b)
	return true
}

// offer puts a batch in line for the goroutines that ask the engine.
func (r *run) offer(b *batch) {
	b.asked = true
	r.pending = append(r.pending, b)
}

// remind offers batches again that are overdue. The queue keeps one that is still there as it is.
func (r *run) remind(now time.Time) {
	for _, b := range r.open {
		if b.answer == nil && !b.asked && now.After(b.due) {
			b.patience = min(max(2*b.patience, r.patience()), 8*r.patience())
			r.offer(b)
		}
	}
}

func (r *run) settleReply(reply reply, yield func(result, error) bool) error {
	b := reply.b
	b.asked, b.place = false, max(b.place, reply.place)
	r.asking--
	now := time.Now()
	if r.pace.learn(reply.took, reply.err); r.pace.least > 0 {
		r.sizer.way = r.pace.least
	}
	switch {
	case b.answer != nil:
		return nil
	case reply.answer != nil:
		return r.settle(reply.answer, yield)
	case reply.err == nil:
		if b.stored = false; b.sent.IsZero() { // else the queue has it already, which says nothing about whether it takes others
			b.sent = now
			r.accepted()
		}
		b.due = now.Add(max(b.patience, r.patience()))
		return nil
	case errors.Is(reply.err, engine.ErrRefused):
		return fmt.Errorf("batch of items %d to %d: %w", b.first, b.first+uint64(len(b.items))-1, reply.err)
	default: // the queue is full, or the servers are away
		r.job.c.log.Debug("a batch could not be offered; it is tried again", "job", r.job.key.Job, "first", b.first, "err", reply.err)
		r.noteRefusal(now, reply.err)
		b.due, b.patience = now.Add(250*time.Millisecond), max(b.patience, 1)
		return nil
	}
}

// quiet is for how long no batch can be offered before the run says so.
const quiet = 3 * time.Second

// noteRefusal notes that a batch could not be offered, and warns if none could for a while.
func (r *run) noteRefusal(now time.Time, err error) {
	if r.refused.IsZero() {
		r.refused = now
	}
	if !r.said && now.Sub(r.refused) > quiet {
		r.said = true
		r.job.c.log.Warn("the cluster takes no batches; the job waits until it does", "job", r.job.key.Job, "err", err)
	}
}

// accepted notes that a batch could be offered.
func (r *run) accepted() {
	if r.said {
		r.job.c.log.Info("the cluster takes batches again", "job", r.job.key.Job)
	}
	r.refused, r.said = time.Time{}, false
}
