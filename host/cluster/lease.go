package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/bits"
	"slices"
	"time"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/host/cluster/internal/engine"
	"github.com/parhost/parhost/protocol"
)

// run runs a batch, stores its results, and removes it from the queue; or it gives the batch back.
func (n *node) run(ctx context.Context, l engine.Lease) {
	begun, key := time.Now(), l.Key()
	defer n.beat(l)()
	log := n.Logger.With("job", key.Job, "first", key.First)
	body, err := l.Body(ctx)
	if errors.Is(err, engine.ErrNotFound) { // it lay outside of the message, and is gone: its submitter offers it again
		log.Warn("a batch is dropped, because its items are gone")
		_ = l.Drop()
		return
	}
	if err != nil {
		log.Warn("a batch cannot be read", "err", err)
		n.giveBack(l, time.Second)
		return
	}
	created, first, items, err := decodeBatch(body)
	if err != nil || first != key.First {
		log.Warn("a batch is dropped, because it is none", "err", err)
		_ = l.Drop()
		return
	}
	j, err := n.job(ctx, key.JobKey, created)
	switch {
	case errors.Is(err, engine.ErrNotFound), err == nil && j.canceled(): // the job is gone
		_ = l.Drop()
		return
	case err != nil:
		log.Debug("the entry of a job cannot be read", "err", err)
		n.giveBack(l, time.Second)
		return
	}
	n.count(j, 1)
	defer n.count(j, -1)
	attempt, take := l.Deliveries(), len(items)
	if attempt > 1 {
		if done, err := n.c.engine.HasResult(ctx, key); err == nil && done {
			_ = l.Drop()
			return
		}
	}
	p, trouble := n.pools.get(ctx, key.Tenant, j.spec)
	if n.note(key.JobKey, trouble); trouble != nil {
		n.giveBack(l, unfitDelay)
		return
	}
	defer n.pools.put(p)
	unlock, tries, err := n.begin(ctx, key, attempt)
	if err != nil {
		n.giveBack(l, time.Second)
		return
	}
	defer unlock()
	var results []result
	if tries > 0 {
		if take = share(len(items), tries); take == 0 {
			take, results = 1, blamed(tries)
		}
	}
	if results == nil {
		results, err = n.items(ctx, j, p.pool, key, attempt, items[:take])
	}
	if err != nil && j.canceled() {
		_ = l.Drop()
		return
	}
	if err != nil {
		log.Debug("a batch is given back", "err", err)
		if tries > 0 {
			n.outlived(key)
		}
		if broken := p.broken(); broken != nil {
			n.note(key.JobKey, broken)
			n.giveBack(l, unfitDelay)
			return
		}
		n.giveBack(l, 0)
		return
	}
	text, err := encodeResults(n.Name, first, items, results, time.Since(begun))
	if err != nil {
		log.Warn("results cannot be sent", "err", err)
		n.giveBack(l, time.Second)
		return
	}
	n.store(ctx, l, engine.Result{Key: key, Items: len(results), Body: text})
	n.ran.Add(int64(len(results)))
}

// unfitDelay is for how long a batch stays away that this node cannot run.
const unfitDelay = 2 * time.Second

// begin counts the tries of a batch that was given to a node before, and waits until the batch may run. One that was begun again, and is here once more, runs
// alone, because the next node that dies of it must not leave others under suspicion: they would be counted just the same.
func (n *node) begin(ctx context.Context, key engine.Key, attempt int) (unlock func(), tries int, err error) {
	lock := n.alone.RLocker()
	if attempt > 1 {
		begun, err := n.c.engine.Begun(ctx, key)
		if err != nil {
			return nil, 0, err
		}
		if begun > 0 {
			lock = &n.alone
		}
	}
	lock.Lock()
	if attempt > 1 {
		if tries, err = n.c.engine.Begin(ctx, key); err != nil {
			lock.Unlock()
			return nil, 0, err
		}
	}
	return lock.Unlock, tries, nil
}

// outlived takes a try back that did not end the node. If that fails, the batch is under more suspicion than it should be.
func (n *node) outlived(key engine.Key) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := n.c.engine.Outlived(ctx, key); err != nil {
		n.Logger.Debug("a try could not be taken back", "job", key.Job, "first", key.First, "err", err)
	}
}

// share returns how many items of a batch to run at the given try, after nodes have died of it: half as many each time, until one item is left. That one
// gets two tries alone, and 0 says that it has had them.
func share(items, tries int) int {
	half := items >> max(0, tries-1)
	if half == 0 && tries > max(bits.Len(uint(items))+1, 3) {
		return 0
	}
	return max(1, half)
}

// blamed is the result of an item that several nodes have died of.
func blamed(tries int) []result {
	return []result{{Attempts: tries, Err: &host.ItemError{
		Kind: protocol.KindCrashed, Attempts: tries, ExitCode: -1,
		Message: fmt.Sprintf("the node that ran it was gone before it ended, %d times", tries),
	}}}
}

// items runs items of a batch. The error says that not all of them have an outcome.
func (n *node) items(ctx context.Context, j *known, pool *host.Pool, key engine.Key, attempt int, items []json.RawMessage) ([]result, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		select {
		case <-j.over:
			cancel(ErrCanceled)
		case <-ended:
		}
	}()
	ctx = host.WithSeed(ctx, j.spec.Seed)
	ctx = host.WithIndex(ctx, func(i int) int { return int(key.First) + i })
	metadata := maps.Clone(j.spec.Metadata)
	if metadata == nil {
		metadata = map[string]string{}
	}
	metadata[MetadataBatch] = fmt.Sprintf("%s/%d/%d", key.Job, key.First, attempt)
	ctx = host.WithMetadata(ctx, metadata)
	results := make([]result, 0, len(items))
	for r, err := range host.BindJSON[json.RawMessage, json.RawMessage](pool).Stream(ctx, slices.Values(items)) {
		if err != nil {
			return nil, err
		}
		results = append(results, r)
	}
	if ctx.Err() != nil { // items of it have ended as canceled
		return nil, context.Cause(ctx)
	}
	return results, nil
}

// MetadataBatch is the key under which a workload finds JOB/FIRST/ATTEMPT, by sdk.Metadata: which batch of which job its item belongs to, and how often the batch
// was given to a node. A workload with effects outside can tell by it what it may have done before.
const MetadataBatch = "parhost-batch"

// beat extends a lease until the returned function is called.
func (n *node) beat(l engine.Lease) (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(n.c.engine.LeaseTime() / 3)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				_ = l.Extend() // one that is lost is followed by others
			case <-done:
				return
			}
		}
	}()
	return func() {
		close(done)
		<-ended
	}
}

// store stores results, for as long as the servers are away.
func (n *node) store(ctx context.Context, l engine.Lease, r engine.Result) {
	began, warned := time.Now(), false
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		err := l.Store(ctx, r)
		if err == nil || ctx.Err() != nil {
			return
		}
		n.Logger.Debug("a result could not be stored", "job", r.Key.Job, "first", r.Key.First, "err", err)
		if !warned && time.Since(began) > quiet {
			warned = true
			n.Logger.Warn("results cannot be stored; it is tried again until they are", "job", r.Key.Job, "first", r.Key.First, "err", err)
		}
		if errors.Is(err, engine.ErrRefused) {
			n.Logger.Warn("the server refuses a result", "job", r.Key.Job, "first", r.Key.First, "err", err)
			return
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
	}
}

func (n *node) giveBack(l engine.Lease, delay time.Duration) {
	_ = l.GiveBack(delay) // if it is lost, the lease ends by itself
}
