package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/host/cluster/internal/clusterpb"
	"github.com/parhost/parhost/host/cluster/internal/engine"
)

// Results yields the stored results of a job in the order of its items, for as long as its submitter goes on, without having the items. Anybody may read
// them, any number of times. The last iteration has an error if the results are not complete: [ErrNoJob], [ErrCanceled], [ErrAway], [ErrGone] or ctx's cause.
func (c *Cluster) Results(ctx context.Context, id string) iter.Seq2[host.Result[json.RawMessage], error] {
	return func(yield func(result, error) bool) {
		next := uint64(0)
		for {
			state, items, err := c.stateOf(ctx, id)
			if err != nil {
				yield(result{}, err)
				return
			}
			s, err := c.engine.Lookup(ctx, engine.Key{JobKey: engine.JobKey{Tenant: c.tenant, Job: id}, First: next})
			switch {
			case err == nil:
				a, err := decodeResults(s.Body)
				if err != nil {
					yield(result{}, err)
					return
				}
				for i := range a.results {
					r := &a.results[i]
					if r.Index = int(next) + i; r.Err != nil {
						r.Err.Index = r.Index
					}
					if !yield(*r, nil) {
						return
					}
				}
				next += uint64(len(a.results))
				continue
			case !errors.Is(err, engine.ErrNotFound):
				yield(result{}, err)
				return
			}
			switch {
			case state == "done" && next >= items:
				return
			case state == "done":
				err = ErrGone
			case state == "canceled":
				err = ErrCanceled
			case state == "away":
				err = ErrAway
			}
			if err != nil && !errors.Is(err, engine.ErrNotFound) {
				yield(result{}, err)
				return
			}
			select {
			case <-time.After(followEvery):
			case <-ctx.Done():
				yield(result{}, context.Cause(ctx))
				return
			}
		}
	}
}

// followEvery is how often Results looks for a result that is not there yet.
const followEvery = 200 * time.Millisecond

// ErrAway says that a job has no submitter who goes on with it.
var ErrAway = errors.New("the job's submitter is gone; the same command with the same job id goes on with it")

// ErrGone says that results of a job are gone, because they are kept for a day only.
var ErrGone = errors.New("results of the job are gone: they are kept for a day")

// stateOf returns the state of a job, and how many items it has if it is done.
func (c *Cluster) stateOf(ctx context.Context, id string) (state string, items uint64, err error) {
	key := engine.JobKey{Tenant: c.tenant, Job: id}
	body, _, err := c.engine.Job(ctx, key)
	if err != nil {
		return "", 0, noJob(err)
	}
	var j clusterpb.Job
	if err := proto.Unmarshal(body, &j); err != nil {
		return "", 0, err
	}
	return infoOf(key, &j).State, j.Items, nil
}
