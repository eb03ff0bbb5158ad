package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/host/cluster/internal/engine"
	"github.com/parhost/parhost/internal/relay"
)

// Stream runs items on the cluster and yields their results in the order of the items, like [host.Typed.Stream]. It may be called once for a job.
//
// The last iteration has an error if the run ended early: ctx's cause, [host.ErrClosed] after [Job.Stop], [ErrCanceled], an [*OtherJobError] if the job has
// results of other items, an [*UnfitError] if no node can run the job, or one that matches [ErrRefused]. It waits for as long as the cluster is away.
func (j *Job) Stream(ctx context.Context, items iter.Seq[json.RawMessage]) iter.Seq2[host.Result[json.RawMessage], error] {
	return j.stream(ctx, items, true)
}

// Unordered is [Job.Stream], but yields the results in the order in which their batches are done.
func (j *Job) Unordered(ctx context.Context, items iter.Seq[json.RawMessage]) iter.Seq2[host.Result[json.RawMessage], error] {
	return j.stream(ctx, items, false)
}

// errTaken ends a run whose caller wants no more results.
var errTaken = errors.New("no more results are wanted")

func (j *Job) stream(ctx context.Context, items iter.Seq[json.RawMessage], ordered bool) iter.Seq2[result, error] {
	return func(yield func(result, error) bool) {
		outer := ctx
		ctx, cancel := context.WithCancelCause(ctx)
		r := newRun(j, ordered)
		err := errTaken // if the caller's code panics
		ended := false
		end := func() {
			if ended {
				return
			}
			ended = true
			cancel(errTaken)
			r.queue.close()
			r.owned.Wait()
			j.finish(context.WithoutCancel(outer), r, err)
		}
		defer end()
		if err = r.begin(ctx, items); err == nil {
			err = errTaken
			err = r.loop(ctx, yield)
		}
		end()
		relay.Raise(err)
		if err != nil && !errors.Is(err, errTaken) {
			yield(result{}, err)
		}
	}
}

// batch is consecutive items that are under way.
type batch struct {
	first    uint64
	items    []json.RawMessage
	bytes    int       // of the items, later of the results
	stored   bool      // the cluster has a result of it, which only has to be fetched
	spare    *answer   // that result, if it is here already
	due      time.Time // when it counts as overdue, and is looked up and offered again
	patience time.Duration
	sent     time.Time
	asked    bool   // it is being offered, or its result looked up
	place    uint64 // in the queue; 0 if that is not known
	last     bool   // it is not offered again
	answer   *answer
}

// run is one pass over the items of a job. The goroutine that ranges over the results does all of it, apart from what waits: reading items, asking the
// engine, and hearing from it.
type run struct {
	job     *Job
	sender  engine.Sender
	ordered bool
	queue   *itemQueue
	sizer   sizer

	next  uint64            // place of the next item to be cut
	open  []*batch          // cut and not yet yielded, in order
	taken int               // of them, how many are yielded nevertheless, because the order does not matter
	by    map[uint64]*batch // those without a result, by their first items
	bytes int               // of those not yet yielded
	known map[uint64]int    // stored results of batches that are not cut yet: first item, items
	ahead []uint64          // the same first items, sorted
	spare *answer           // of items that are not cut yet, from next on

	pending []*batch   // batches to be offered, or whose results are to be looked up
	asking  int        // goroutines that do it
	told    chan reply // from these
	pace    pace
	heard   chan *answer // results that the engine reports
	news    chan outlook // of the nodes
	bad     chan error   // why the run cannot go on
	owned   sync.WaitGroup

	yielded   uint64 // items
	failed    uint64
	stopped   bool
	lastHeard time.Time // when it was stopped, or the last result came since then
	waiting   time.Time // since when it waits for its first result
	warned    bool      // that there is no node
	refused   time.Time // since when no batch could be offered; zero if one could
	said      bool      // that there was a warning of it
	events    events
	counted   sync.Mutex // for yielded and failed, which the registry's writer reads
}

const (
	patience   = 2                    // lease times after which a batch is overdue
	keepBytes  = 160                  // of a result in memory, without its value
	batchBytes = 240 << 10            // of a batch, so that it fits into a message
	stopTime   = time.Minute          // that a stopped run waits for a result; a node that has died gives none
	linger     = 2 * time.Millisecond // that items wait for more, to fill a batch
)

func newRun(j *Job, ordered bool) *run {
	return &run{
		job: j, sender: j.c.engine, ordered: ordered, queue: newItemQueue(), by: map[uint64]*batch{}, known: map[uint64]int{},
		told: make(chan reply, leastAsking), pace: newPace(), heard: make(chan *answer, 64), news: make(chan outlook, 1), bad: make(chan error, 4),
		sizer: newSizer(j.cfg.Batch), events: newEvents(j.cfg.Observer),
	}
}

// begin finds out what is stored of the job, and starts the goroutines.
func (r *run) begin(ctx context.Context, items iter.Seq[json.RawMessage]) error {
	cursor, err := r.sender.Stored(ctx, r.job.key, func(s engine.Result) { r.known[s.Key.First] = s.Items })
	if err != nil {
		return err
	}
	r.ahead = slices.Sorted(maps.Keys(r.known))
	go r.queue.read(items) // nobody waits for it: an input may be silent for ever
	r.owned.Go(func() {
		err := r.sender.Follow(ctx, r.job.key, cursor, func(s engine.Result) { r.hear(ctx, s) })
		if ctx.Err() == nil {
			r.bad <- err
		}
	})
	r.owned.Go(func() { r.job.watch(ctx, r) })
	return nil
}

// loop cuts batches, offers them, and yields results, until all items have theirs.
func (r *run) loop(ctx context.Context, yield func(result, error) bool) error {
	pass := time.NewTicker(100 * time.Millisecond)
	defer pass.Stop()
	few := time.NewTimer(linger)
	defer few.Stop()
	lingered := false
	stopping := r.job.stopping
	for {
		for r.cut(lingered) {
		}
		if r.stopped && (len(r.open) == 0 || time.Since(r.lastHeard) > stopTime) {
			return host.ErrClosed
		}
		if n, ended, err := r.queue.left(); n == 0 && ended && len(r.open) == 0 {
			return errors.Join(err, r.checkEnd())
		}
		r.ask(ctx)
		select {
		case reply := <-r.told:
			if err := r.settleReply(reply, yield); err != nil {
				return err
			}
		case a := <-r.heard:
			if err := r.settle(a, yield); err != nil {
				return err
			}
		case <-r.queue.changed:
			lingered = false
			few.Reset(linger)
		case <-few.C:
			lingered = true
		case now := <-pass.C:
			r.remind(now)
			r.events.sample(now, r)
		case o := <-r.news:
			r.sizer.slots = o.slots
			r.job.slots.Store(max(r.job.slots.Load(), int64(o.slots)))
			r.events.nodes(o)
			if err := r.checkFit(&o); err != nil {
				return err
			}
		case err := <-r.bad:
			return err
		case <-stopping:
			stopping = nil
			if err := r.stop(ctx); err != nil {
				return err
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// checkEnd refuses an input that is shorter than the one whose results are stored.
func (r *run) checkEnd() error {
	if r.spare != nil {
		r.known[r.next] = len(r.spare.results)
	}
	for first := range r.known {
		if first >= r.next {
			return &OtherJobError{Job: r.job.key.Job, What: fmt.Sprintf("results of more items: the input ends after %d", r.next)}
		}
	}
	return nil
}

// patience is after which time a batch without a result counts as overdue: when it has had its turn, and a node that has died with it is noticed.
func (r *run) patience() time.Duration {
	return patience*r.job.c.engine.LeaseTime() + r.sizer.turn()
}

// stop takes back what no node has begun, and leaves only the batches whose results are still to come.
func (r *run) stop(ctx context.Context) error {
	r.stopped, r.pending, r.lastHeard = true, nil, time.Now()
	backlog, err := r.sender.Backlog(ctx, r.job.pool)
	if err != nil {
		return host.ErrClosed // nobody knows which batches are begun
	}
	if err := r.sender.Remove(ctx, r.job.pool, r.job.key, false); err != nil {
		return err
	}
	begun := func(b *batch) bool { return b.answer != nil || 0 < b.place && b.place <= backlog.Given }
	var kept []*batch
	for _, b := range r.open {
		switch {
		case b.answer != nil && !r.ordered: // it is yielded
		case begun(b):
			b.last, b.due, b.patience = true, time.Now().Add(time.Second), time.Second
			kept = append(kept, b)
		default:
			delete(r.by, b.first)
		}
		if r.ordered && !begun(b) { // what was yielded shall be the beginning of the whole output
			break
		}
	}
	r.taken = 0
	r.open = kept
	return nil
}
