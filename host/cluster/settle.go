package cluster

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/parhost/parhost/host/cluster/internal/engine"
)

// hear passes a stored result on to the loop.
func (r *run) hear(ctx context.Context, s engine.Result) {
	a, err := decodeResults(s.Body)
	if err != nil || a.first != s.Key.First {
		r.job.c.log.Warn("a stored result cannot be read", "job", r.job.key.Job, "first", s.Key.First, "err", err)
		return
	}
	select {
	case r.heard <- a:
	case <-ctx.Done():
	}
}

// settle takes the first answer for a batch, and yields what is ready.
func (r *run) settle(a *answer, yield func(result, error) bool) error {
	b := r.by[a.first]
	switch {
	case b == nil:
		if a.first >= r.next {
			r.store(a) // of items that another submitter of this job has read
		}
		return nil
	case b.answer != nil:
		return nil
	case !a.sameItems(b.items):
		return &OtherJobError{Job: r.job.key.Job, What: fmt.Sprintf("results of other items than those from item %d on", b.first)}
	}
	var more *answer
	if n := len(b.items); n < len(a.results) { // of a batch that another submitter of this job has cut
		more = a.cut(n)
	}
	b.answer, r.lastHeard = a, time.Now()
	delete(r.by, b.first)
	r.sizer.took(a, time.Now())
	if n := len(a.results); n < len(b.items) { // the node gave the rest back
		r.split(b, n)
	}
	r.job.slots.Store(max(r.job.slots.Load(), int64(r.events.number(a.node)))) // a node may be too new to be listed
	r.events.done(b)
	kept := a.bytes()
	r.bytes += kept - b.bytes
	b.bytes, b.items = kept, nil
	if err := r.yieldReady(b, yield); err != nil || more == nil {
		return err
	}
	if more.first == r.next {
		r.spare = more
		return nil
	}
	return r.settle(more, yield)
}

// store notes that there is a result of items that are not cut yet.
func (r *run) store(a *answer) {
	if r.known[a.first] == 0 {
		at, _ := slices.BinarySearch(r.ahead, a.first)
		r.ahead = slices.Insert(r.ahead, at, a.first)
	}
	r.known[a.first] = len(a.results)
}

// split makes the items of a batch from n on a batch of their own, and offers it.
func (r *run) split(b *batch, n int) {
	if r.stopped {
		b.items = b.items[:n]
		return
	}
	rest := &batch{first: b.first + uint64(n), items: b.items[n:]}
	for _, item := range rest.items {
		rest.bytes += len(item)
	}
	b.items, b.bytes = b.items[:n], b.bytes-rest.bytes
	for i, open := range r.open {
		if open == b {
			r.open = slices.Insert(r.open, i+1, rest)
			break
		}
	}
	r.by[rest.first] = rest
	r.offer(rest)
}

// yieldReady yields the results of the batches whose turn has come, after one of them got its answer.
func (r *run) yieldReady(b *batch, yield func(result, error) bool) error {
	if !r.ordered {
		r.taken++
		err := r.yield(b, yield)
		if 2*r.taken > len(r.open) { // so that it costs little, however many are open
			r.open = slices.DeleteFunc(r.open, func(b *batch) bool { return b.answer != nil })
			r.taken = 0
		}
		return err
	}
	for len(r.open) > 0 && r.open[0].answer != nil {
		if err := r.yield(r.open[0], yield); err != nil {
			return err
		}
		r.open = r.open[1:]
	}
	return nil
}

// yield yields the results of a batch.
func (r *run) yield(b *batch, yield func(result, error) bool) error {
	r.bytes -= b.bytes
	for k := range b.answer.results {
		one := &b.answer.results[k]
		one.Index = int(b.first) + k
		if one.Err != nil {
			one.Err.Index = one.Index
		}
		r.count(one.Err != nil)
		if !yield(*one, nil) {
			return errTaken
		}
	}
	return nil
}

func (r *run) count(failed bool) {
	r.counted.Lock()
	defer r.counted.Unlock()
	if r.yielded++; failed {
		r.failed++
	}
}
