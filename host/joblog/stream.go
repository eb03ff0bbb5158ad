package joblog

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"sync"
	"time"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/internal/relay"
)

// Stream is [host.Typed.Stream] with a journal: it runs the items that have no result in the journal, and yields the results of all items in the order of
// the items. A result from the journal has the worker, the attempts and the times of the run that produced it.
//
// The run uses the journal's seed, and each item draws random numbers by its index in the whole input, so a resumed run draws the same numbers as a
// run without interruption.
//
// A result is yielded after its record has been written. A canceled item has no record. Besides the errors of a stream without a journal, the last error may be a
// [*WriteError]. A journal is for one input: range over its Stream or Unordered once only; a second time yields [ErrUsed].
func (j *Journal) Stream(ctx context.Context, p *host.Pool, items iter.Seq[json.RawMessage]) iter.Seq2[host.Result[json.RawMessage], error] {
	return j.stream(ctx, p, items, true)
}

// Unordered is [Journal.Stream], but yields the results in the order in which they become ready.
func (j *Journal) Unordered(ctx context.Context, p *host.Pool, items iter.Seq[json.RawMessage]) iter.Seq2[host.Result[json.RawMessage], error] {
	return j.stream(ctx, p, items, false)
}

// Waiting returns what the journal's stream waits for that its pool cannot know: an item that holds up the order (Waiting.Item is its index in the whole
// input), or the caller, who is to take results. ok is false if it waits for neither.
func (j *Journal) Waiting() (w host.Waiting, ok bool) {
	f := j.flow.Load()
	if f == nil {
		return w, false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case !f.blocked || f.ended:
		return w, false
	case f.ordered && f.slots.size() > 0 && f.slots.at(f.slots.first).state == pending:
		return host.Waiting{For: host.WaitOrder, Item: f.slots.first}, true
	default:
		return host.Waiting{For: host.WaitReader, Item: -1}, true
	}
}

// Writing reports whether the journal is writing to its file right now.
func (j *Journal) Writing() bool {
	if !j.writing.TryLock() {
		return true
	}
	j.writing.Unlock()
	return false
}

// errTaken cancels a run when the caller has stopped ranging over its results.
var errTaken = errors.New("no more results are wanted")

func (j *Journal) stream(ctx context.Context, p *host.Pool, items iter.Seq[json.RawMessage], ordered bool) iter.Seq2[result, error] {
	return func(yield func(result, error) bool) {
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		if err := j.use(cancel); err != nil {
			yield(result{}, err)
			return
		}
		f := newFlow(j, ordered)
		j.flow.Store(f)
		var running sync.WaitGroup
		running.Go(func() {
			ended := false
			defer func() {
				if !ended { // the iterator of items panicked, or called runtime.Goexit
					f.end(&relay.BrokenError{Value: recover()})
				}
			}()
			err := f.run(ctx, p, items)
			ended = true
			f.end(err)
		})
		defer func() {
			cancel(errTaken)
			running.Wait()
			_ = j.flush() // keep finished results even if the caller does not want them now; Close returns the error
		}()
		from := window{r: j.file, most: j.most}
		for group := make([]answer, 0, groupItems); ; {
			var ready []result
			if group, ready = f.take(group); len(group) == 0 {
				break
			}
			if err := j.reach(group); err != nil {
				yield(result{}, err)
				return
			}
			if !f.show(group, ready, &from, yield) {
				return
			}
		}
		relay.Raise(f.err)
		if f.err != nil {
			yield(result{}, f.err)
		}
	}
}

// use claims the journal for a stream that cancel ends. It returns an error if the journal is closed, used, or cannot be written.
func (j *Journal) use(cancel context.CancelCauseFunc) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	switch {
	case j.closed:
		return ErrClosed
	case j.cancel != nil:
		return ErrUsed
	case j.err == nil:
		j.cancel = cancel
	}
	return j.err
}

// gather is how long a record may wait to be written together with others, if the last write was just before it.
const gather = 5 * time.Millisecond

// reach returns when the records of all results in a group have been written.
func (j *Journal) reach(group []answer) error {
	last := int64(-1)
	for i := range group {
		last = max(last, group[i].at)
	}
	j.mu.Lock()
	reached, wait := last < j.written, gather-time.Since(j.flushed)
	j.mu.Unlock()
	if reached {
		return nil
	}
	time.Sleep(wait)
	return j.flush()
}
