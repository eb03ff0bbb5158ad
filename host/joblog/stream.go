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

// Stream is [host.Stream] with a journal: it runs the items that have no result there, and yields the results of all in the order of
// the items. Those that were in the journal have the worker, the attempts and the times of the run that they come from.
//
// The run has the journal's seed, and each item draws by its index among all, so that a resumed run draws what an undisturbed one does.
//
// A result is yielded after its record has been written. An item that was cancelled has none. Besides host.Stream's errors the last
// one may be a [*WriteError]. A journal is for one input: its Stream and Unordered are to be ranged over once.
func (j *Journal) Stream(ctx context.Context, p *host.Pool, items iter.Seq[json.RawMessage]) iter.Seq2[host.Result[json.RawMessage], error] {
	return j.stream(ctx, p, items, true)
}

// Unordered is [Journal.Stream] with the results in the order in which they come.
func (j *Journal) Unordered(ctx context.Context, p *host.Pool, items iter.Seq[json.RawMessage]) iter.Seq2[host.Result[json.RawMessage], error] {
	return j.stream(ctx, p, items, false)
}

// errTaken ends a run whose results nobody wants any more.
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
		var running sync.WaitGroup
		running.Go(func() {
			ended := false
			defer func() {
				if !ended { // the iterator of items panicked, or ended this goroutine
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
			_ = j.flush() // what is finished is kept, even if nobody wants to see it now; Close tells of an error
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

// use makes the journal that of a stream which cancel ends.
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

// gather is how long a record may wait for others, to be written with them, when others have been written just before.
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
