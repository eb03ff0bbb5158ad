package cluster

import (
	"context"
	"errors"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/parhost/parhost/host/cluster/internal/clusterpb"
	"github.com/parhost/parhost/host/cluster/internal/engine"
)

// known is a job that the node has met.
type known struct {
	spec    *clusterpb.Spec
	created uint64
	met     time.Time
	batches int           // that the node has of it; guarded by node.mu
	over    chan struct{} // closed when the job is canceled
	end     func()        // closes over
}

// canceled reports whether somebody has canceled the job.
func (k *known) canceled() bool {
	select {
	case <-k.over:
		return true
	default:
		return false
	}
}

func (n *node) count(j *known, batches int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	j.batches += batches
}

// job returns what the registry says of a job that was made at a time.
func (n *node) job(ctx context.Context, key engine.JobKey, created uint64) (*known, error) {
	n.mu.Lock()
	j := n.jobs[key]
	n.mu.Unlock()
	if j != nil && j.created == created && time.Since(j.met) < trusted && !j.canceled() {
		return j, nil
	}
	body, _, err := n.c.engine.Job(ctx, key)
	if err != nil {
		return nil, err
	}
	var entry clusterpb.Job
	if err := proto.Unmarshal(body, &entry); err != nil {
		return nil, err
	}
	if entry.CreatedUnixNs != created || entry.State == clusterpb.State_STATE_CANCELED || entry.Spec.GetPlugin() == nil {
		return nil, engine.ErrNotFound
	}
	j = &known{spec: entry.Spec, created: created, met: time.Now()}
	over := make(chan struct{})
	j.over, j.end = over, sync.OnceFunc(func() { close(over) })
	n.mu.Lock()
	defer n.mu.Unlock()
	if was := n.jobs[key]; was != nil {
		if was.created == created && !was.canceled() {
			was.met = time.Now()
			return was, nil
		}
		was.end()
	}
	n.jobs[key] = j
	n.forgetOld()
	return j, nil
}

// trusted is for how long the node takes it that a job is as it was.
const trusted = 5 * time.Second

// mostJobs is how many jobs a node remembers.
const mostJobs = 1000

func (n *node) forgetOld() {
	for len(n.jobs) > mostJobs {
		var oldest engine.JobKey
		for key, j := range n.jobs {
			if o := n.jobs[oldest]; o == nil || j.met.Before(o.met) {
				oldest = key
			}
		}
		delete(n.jobs, oldest)
		delete(n.troubles, oldest)
	}
}

// heard acts on a word about a job.
func (n *node) heard(job engine.JobKey, word string) {
	if word != wordCancel {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if j := n.jobs[job]; j != nil {
		j.end()
		delete(n.jobs, job)
		delete(n.troubles, job)
	}
}

// checkJobs looks whether the jobs that the node runs are still there, because the word that a job is canceled can be lost.
func (n *node) checkJobs(ctx context.Context) {
	n.mu.Lock()
	running := map[engine.JobKey]*known{}
	for key, j := range n.jobs {
		if j.batches > 0 {
			running[key] = j
		}
	}
	n.mu.Unlock()
	for key, j := range running {
		body, _, err := n.c.engine.Job(ctx, key)
		var entry clusterpb.Job
		switch {
		case errors.Is(err, engine.ErrNotFound):
		case err != nil || proto.Unmarshal(body, &entry) != nil:
			continue
		case entry.CreatedUnixNs == j.created && entry.State != clusterpb.State_STATE_CANCELED:
			continue
		}
		j.end()
	}
}
