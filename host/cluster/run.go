package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math"
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

	todo   []*batch   // to be offered or looked up
	asking int        // goroutines that do it
	told   chan reply // from these
	pace   pace
	heard  chan *answer // results that the engine reports
	news   chan outlook // of the nodes
	bad    chan error   // why the run cannot go on
	owned  sync.WaitGroup

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

// reply says what came of asking the engine for a batch.
type reply struct {
	b      *batch
	answer *answer
	place  uint64
	err    error
	took   time.Duration // to offer it; 0 if it was looked up
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

// ask begins to offer batches, and to look results up, as many at a time as the pace allows.
func (r *run) ask(ctx context.Context) {
	for len(r.todo) > 0 && r.asking < r.pace.most {
		b := r.todo[0]
		r.todo = r.todo[1:]
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
			if err := r.doubt(&o); err != nil {
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

// cut makes a batch of the next items, if there is room for it. Items that have a stored result become a batch of the same items. A batch is cut when it can
// be offered at once, so that its size follows the latest measurement.
func (r *run) cut(few bool) bool {
	if r.asking+len(r.todo) >= r.pace.most || len(r.by) >= r.sizer.window() || r.bytes >= r.sizer.bytes() || r.stopped {
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
	r.todo = append(r.todo, b)
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

// patience is after which time a batch without a result counts as overdue: when it has had its turn, and a node that has died with it is noticed.
func (r *run) patience() time.Duration {
	return patience*r.job.c.engine.LeaseTime() + r.sizer.turn()
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
		r.suffer(now, reply.err)
		b.due, b.patience = now.Add(250*time.Millisecond), max(b.patience, 1)
		return nil
	}
}

// quiet is for how long no batch can be offered before the run says so.
const quiet = 3 * time.Second

// suffer notes that a batch could not be offered, and warns if none could for a while.
func (r *run) suffer(now time.Time, err error) {
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

// stop takes back what no node has begun, and leaves only the batches whose results are still to come.
func (r *run) stop(ctx context.Context) error {
	r.stopped, r.todo, r.lastHeard = true, nil, time.Now()
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
