package cluster

import (
	"context"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/parhost/parhost/host/cluster/internal/clusterpb"
	"github.com/parhost/parhost/host/cluster/internal/engine"
	"github.com/parhost/parhost/internal/bound"
)

// note remembers why the node cannot run a job, or that it can.
func (n *node) note(job engine.JobKey, t *clusterpb.Trouble) {
	n.mu.Lock()
	defer n.mu.Unlock()
	was := n.troubles[job]
	if t == nil {
		if was != nil {
			delete(n.troubles, job)
			n.speak()
		}
		return
	}
	t = proto.CloneOf(t)
	t.Tenant, t.Job, t.Message = job.Tenant, job.Job, bound.Text(t.Message, mostMessage) // all of them have to fit into the node's entry
	if proto.Equal(t, was) {
		return
	}
	n.Logger.Warn("this node does not run a job", "job", job.Job, "reason", t.Message)
	n.troubles[job] = t
	n.speak()
}

// speak makes the node say something of itself at once.
func (n *node) speak() {
	select {
	case n.changed <- struct{}{}:
	default:
	}
}

// presence is how often a node says that it is there.
const presence = 3 * time.Second

// mostMessage is how many bytes of a reason the node's entry has.
const mostMessage = 4 << 10

// mostTroubles is how many jobs a node names that it cannot run.
const mostTroubles = 100

// tell writes the node's entry until ctx ends.
func (n *node) tell(ctx context.Context) {
	tick := time.NewTicker(presence)
	defer tick.Stop()
	for ctx.Err() == nil {
		n.mu.Lock()
		entry := &clusterpb.Node{
			Name: n.Name, Version: n.c.version, Platform: thisPlatform, Pool: n.Pool, Slots: uint32(n.Slots), Busy: uint32(n.busy.Load()),
			Leaving: n.leaving, Items: uint64(n.ran.Load()), SinceUnixNs: uint64(n.since.UnixNano()),
		}
		for _, t := range n.troubles {
			if entry.Troubles = append(entry.Troubles, t); len(entry.Troubles) == mostTroubles {
				break
			}
		}
		n.mu.Unlock()
		if body, err := proto.Marshal(entry); err == nil {
			if err := n.c.engine.PutNode(ctx, n.Name, body); err != nil && ctx.Err() == nil {
				n.Logger.Debug("the node's entry could not be written", "err", err)
			}
		}
		select {
		case <-tick.C:
			n.checkJobs(ctx)
		case <-n.changed:
		case <-ctx.Done():
		}
	}
}
