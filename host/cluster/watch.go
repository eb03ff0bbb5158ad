package cluster

import (
	"context"
	"errors"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/host/cluster/internal/clusterpb"
	"github.com/parhost/parhost/host/cluster/internal/engine"
)

// outlook is what the nodes of a job's pool say of themselves.
type outlook struct {
	nodes []*clusterpb.Node
	slots int
}

const (
	lookEvery  = time.Second
	writeEvery = 2 * time.Second
)

// watch looks at the nodes, writes down how far the job is, and ends the run if somebody cancels the job.
func (j *Job) watch(ctx context.Context, r *run) {
	stop, err := j.c.engine.Listen(j.key.Tenant, func(job engine.JobKey, word string) {
		if job == j.key && word == wordCancel {
			select {
			case r.bad <- ErrCanceled:
			default:
			}
		}
	})
	if err == nil {
		defer stop()
	}
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	written := time.Now()
	for {
		if o, err := j.look(ctx); err == nil {
			select {
			case <-r.news: // an older one, which nobody has taken
			default:
			}
			r.news <- o // there is room, and only this goroutine sends
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return
		}
		if time.Since(written) >= writeEvery {
			written = time.Now()
			if errors.Is(j.write(ctx, r, clusterpb.State_STATE_RUNNING), ErrCanceled) {
				select {
				case r.bad <- ErrCanceled:
				default:
				}
			}
		}
	}
}

// look asks for the nodes of the job's pool.
func (j *Job) look(ctx context.Context) (o outlook, err error) {
	nodes, err := j.c.nodes(ctx)
	for _, n := range nodes {
		if n.Pool == j.pool && !n.Leaving {
			o.nodes = append(o.nodes, n)
			o.slots += int(n.Slots)
		}
	}
	return o, err
}

// write writes the job's entry. If another has written it meanwhile, it tries again with that one's state.
func (j *Job) write(ctx context.Context, r *run, state clusterpb.State) error {
	r.counted.Lock()
	j.entry.Done, j.entry.Failed = r.yielded, r.failed
	r.counted.Unlock()
	j.entry.State, j.entry.SeenUnixNs = state, uint64(time.Now().UnixNano())
	if state == clusterpb.State_STATE_DONE {
		j.entry.Items = r.next
	}
	for range 3 {
		body, err := proto.Marshal(j.entry)
		if err != nil {
			return err
		}
		revision, err := j.c.engine.PutJob(ctx, j.key, body, j.revision)
		if err == nil {
			j.revision = revision
		}
		if !errors.Is(err, engine.ErrConflict) {
			return err
		}
		body, revision, err = j.c.engine.Job(ctx, j.key)
		switch {
		case errors.Is(err, engine.ErrNotFound): // the servers have lost it
			j.revision = 0
			continue
		case err != nil:
			return err
		}
		var now clusterpb.Job
		if err := proto.Unmarshal(body, &now); err == nil && now.State == clusterpb.State_STATE_CANCELED {
			return ErrCanceled
		}
		j.revision = revision
	}
	return nil
}

// finish writes down how the run ended. What the cluster holds of a job without a name is removed, for nobody can ask for it again.
func (j *Job) finish(ctx context.Context, r *run, err error) {
	switch {
	case !j.named:
		j.Forget(ctx)
	case err == nil:
		if err := j.write(ctx, r, clusterpb.State_STATE_DONE); err != nil {
			j.c.log.Warn("the end of the job could not be written down", "job", j.key.Job, "err", err)
		}
	}
}

// noNodes is after which time a job that no node runs says so.
const noNodes = 2 * time.Second

// checkFit ends the run if no node can run the job, as long as nothing of it has run.
func (r *run) checkFit(o *outlook) error {
	now := time.Now()
	if r.waiting.IsZero() {
		r.waiting = now
	}
	if len(o.nodes) == 0 {
		if now.Sub(r.waiting) > noNodes && !r.warned && len(r.open) > 0 {
			r.warned = true
			r.job.c.log.Warn("no node of the pool is there; the job waits for one", "pool", r.job.pool, "job", r.job.key.Job)
		}
		return nil
	}
	r.warned = false
	if len(r.open) == 0 || r.sizer.measured {
		return nil
	}
	unfit := &UnfitError{Job: r.job.key.Job}
	for _, n := range o.nodes {
		t := troubleOf(n, r.job.key)
		if t == nil {
			return nil
		}
		unfit.Reasons = append(unfit.Reasons, Trouble{Node: n.Name, Kind: t.Kind, Message: t.Message})
	}
	return unfit
}

// troubleOf returns why a node does not run a job, or nil.
func troubleOf(n *clusterpb.Node, job engine.JobKey) *clusterpb.Trouble {
	for _, t := range n.Troubles {
		if t.Tenant == job.Tenant && t.Job == job.Job {
			return t
		}
	}
	return nil
}

// events reports a run to an Observer as a pool does. The workers that it names are the nodes.
type events struct {
	to      host.Observer
	numbers map[string]int // of nodes, from 1
	state   host.State
	items   map[int]int
}

func newEvents(to host.Observer) events {
	return events{to: to, numbers: map[string]int{}, items: map[int]int{}}
}

// number returns the number of a node.
func (e *events) number(node string) int {
	n := e.numbers[node]
	if n == 0 {
		n = len(e.numbers) + 1
		e.numbers[node] = n
		if e.to != nil {
			e.to.Observe(host.WorkerStarted{At: time.Now(), Worker: n})
		}
	}
	return n
}

// done reports a batch.
func (e *events) done(b *batch) {
	if e.to == nil {
		return
	}
	now := time.Now()
	d := host.BatchDone{At: now, Worker: e.number(b.answer.node), Input: 1, First: int(b.first), Items: len(b.answer.results), Run: 0, Longest: -1}
	longest := time.Duration(-1)
	for i := range b.answer.results {
		r := &b.answer.results[i]
		if d.Run += r.Run; r.Run > longest {
			longest, d.Longest = r.Run, i
		}
		if r.Err != nil {
			d.Failed++
			r.Err.Index = int(b.first) + i
			e.to.Observe(host.ItemFailed{At: now, Attempt: host.Attempt{Input: 1, Place: r.Err.Index, Err: r.Err, Item: short(b.items[i]), Worker: d.Worker, Took: r.Run}})
		}
	}
	if !b.sent.IsZero() {
		d.Trip = now.Sub(b.sent)
		d.Wait = max(0, d.Trip-b.answer.took)
	}
	if d.Longest >= 0 {
		d.LongestItem = short(b.items[d.Longest])
	}
	e.items[d.Worker] += d.Items
	e.to.Observe(d)
}

// nodes notes which nodes there are.
func (e *events) nodes(o outlook) {
	if e.to == nil {
		return
	}
	e.state.Workers = nil
	for _, n := range o.nodes {
		number := e.number(n.Name)
		e.state.Workers = append(e.state.Workers, host.WorkerInfo{Worker: number, Mode: host.ModeProcess, Threads: int(n.Slots), Batches: int(n.Busy), Items: e.items[number]})
	}
}

// sample reports how far the run is.
func (e *events) sample(now time.Time, r *run) {
	if e.to == nil {
		return
	}
	queued, ended, _ := r.queue.left()
	s := e.state
	s.Queued, s.Waiting.Item = queued, -1
	for _, b := range r.open {
		s.Held += len(b.items)
	}
	switch {
	case len(s.Workers) == 0:
		s.Waiting.For = host.WaitStart
	case len(r.open) == 0 && !ended:
		s.Waiting.For = host.WaitInput
	default:
		s.Waiting.For = host.WaitWorkers
	}
	e.to.Observe(host.Sampled{At: now, State: s})
}

// short returns the beginning of an item, as events have it.
func short(item []byte) string {
	const most = 200
	if len(item) <= most {
		return string(item)
	}
	return string(item[:most]) + "…"
}
