package cluster

import (
	"context"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/parhost/parhost/host/cluster/internal/clusterpb"
	"github.com/parhost/parhost/host/cluster/internal/engine"
)

// nodes returns the entries of the nodes that live, sorted by name.
func (c *Cluster) nodes(ctx context.Context) ([]*clusterpb.Node, error) {
	entries, err := c.engine.Nodes(ctx)
	if err != nil {
		return nil, err
	}
	var list []*clusterpb.Node
	for name, body := range entries {
		var n clusterpb.Node
		if proto.Unmarshal(body, &n) == nil && n.Name == name {
			list = append(list, &n)
		}
	}
	slices.SortFunc(list, func(a, b *clusterpb.Node) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}

// NodeInfo is what a node says of itself.
type NodeInfo struct {
	Name     string             `json:"name"`
	Version  string             `json:"version"`
	Platform string             `json:"platform"`
	Pool     string             `json:"pool"`
	Slots    int                `json:"slots"`
	Busy     int                `json:"busy"`              // slots that run a batch
	Leaving  bool               `json:"leaving,omitempty"` // it takes no more batches
	Items    int                `json:"items"`             // that it ran
	Since    time.Time          `json:"since"`
	Unfit    map[string]Trouble `json:"unfit,omitempty"` // jobs of this tenant that it does not run, by ID
}

// Nodes returns the nodes that live, sorted by name. A node that has died is listed for up to ten seconds.
func (c *Cluster) Nodes(ctx context.Context) ([]NodeInfo, error) {
	nodes, err := c.nodes(ctx)
	list := make([]NodeInfo, 0, len(nodes))
	for _, n := range nodes {
		info := infoOfNode(n)
		for _, t := range n.Troubles {
			if t.Tenant == c.tenant {
				info.unfit(t.Job, t)
			}
		}
		list = append(list, info)
	}
	return list, err
}

// infoOfNode returns an entry in the form for users, without the jobs that the node does not run.
func infoOfNode(n *clusterpb.Node) NodeInfo {
	return NodeInfo{
		Name: n.Name, Version: n.Version, Platform: n.Platform, Pool: n.Pool, Slots: int(n.Slots), Busy: int(n.Busy), Leaving: n.Leaving,
		Items: int(n.Items), Since: time.Unix(0, int64(n.SinceUnixNs)),
	}
}

func (n *NodeInfo) unfit(job string, t *clusterpb.Trouble) {
	if n.Unfit == nil {
		n.Unfit = map[string]Trouble{}
	}
	n.Unfit[job] = Trouble{Node: n.Name, Kind: t.Kind, Message: t.Message}
}

// JobInfo is what the registry says of a job.
type JobInfo struct {
	ID        string    `json:"id"`
	Tenant    string    `json:"tenant"`
	Plugin    string    `json:"plugin"`
	Pool      string    `json:"pool"`
	State     string    `json:"state"` // "running", "away" if its submitter has not been heard of for a while, "done" or "canceled"
	Created   time.Time `json:"created"`
	Seen      time.Time `json:"seen"` // when its submitter last wrote
	Done      int       `json:"done"` // items whose results the submitter has taken
	Failed    int       `json:"failed"`
	Submitter string    `json:"submitter"` // machine and process
}

// away is how long a submitter is silent before its job counts as one without.
const away = 10 * time.Second

// Jobs returns the jobs of the tenant, the newest first. Entries are kept for a week.
func (c *Cluster) Jobs(ctx context.Context) ([]JobInfo, error) { return c.jobsOf(ctx, c.tenant) }

func (c *Cluster) jobsOf(ctx context.Context, tenant string) ([]JobInfo, error) {
	entries, err := c.engine.Jobs(ctx, tenant)
	if err != nil {
		return nil, err
	}
	var list []JobInfo
	for key, body := range entries {
		var j clusterpb.Job
		if proto.Unmarshal(body, &j) != nil {
			continue
		}
		list = append(list, infoOf(key, &j))
	}
	slices.SortFunc(list, func(a, b JobInfo) int { return b.Created.Compare(a.Created) })
	return list, nil
}

// infoOf returns an entry in the form for users.
func infoOf(key engine.JobKey, j *clusterpb.Job) JobInfo {
	info := JobInfo{
		ID: key.Job, Tenant: key.Tenant, Plugin: j.Spec.GetPlugin().GetName(), Pool: j.Pool, Created: time.Unix(0, int64(j.CreatedUnixNs)), Seen: time.Unix(0, int64(j.SeenUnixNs)),
		Done: int(j.Done), Failed: int(j.Failed), Submitter: j.Submitter,
	}
	switch {
	case j.State == clusterpb.State_STATE_DONE:
		info.State = "done"
	case j.State == clusterpb.State_STATE_CANCELED:
		info.State = "canceled"
	case time.Since(info.Seen) > away:
		info.State = "away"
	default:
		info.State = "running"
	}
	return info
}

// Cancel cancels a job: what waits of it is removed, nodes stop what runs of it, and its submitter ends. The error is [ErrNoJob] if there is no such job.
func (c *Cluster) Cancel(ctx context.Context, id string) error {
	key := engine.JobKey{Tenant: c.tenant, Job: id}
	for {
		body, revision, err := c.engine.Job(ctx, key)
		if err != nil {
			return noJob(err)
		}
		var j clusterpb.Job
		if err := proto.Unmarshal(body, &j); err != nil {
			return err
		}
		if j.State == clusterpb.State_STATE_DONE {
			return nil
		}
		j.State = clusterpb.State_STATE_CANCELED
		if body, err = proto.Marshal(&j); err != nil {
			return err
		}
		if _, err = c.engine.PutJob(ctx, key, body, revision); err == nil {
			_ = c.engine.Tell(key, wordCancel) // who does not hear it sees the entry
			return c.engine.Remove(ctx, j.Pool, key, false)
		}
		if !isConflict(err) {
			return err
		}
	}
}

// QueueInfo is how much work a pool has, for whatever starts nodes when there is much.
type QueueInfo struct {
	Pool    string `json:"pool"`
	Waiting int    `json:"waiting"` // batches that no node has
	Running int    `json:"running"` // batches that nodes have
	Nodes   int    `json:"nodes"`
	Slots   int    `json:"slots"`
	Busy    int    `json:"busy"`
}

// Queue returns how much work a pool has.
func (c *Cluster) Queue(ctx context.Context, pool string) (QueueInfo, error) {
	nodes, err := c.nodes(ctx)
	if err != nil {
		return QueueInfo{Pool: pool}, err
	}
	return c.queue(ctx, pool, nodes)
}

func (c *Cluster) queue(ctx context.Context, pool string, nodes []*clusterpb.Node) (QueueInfo, error) {
	q := QueueInfo{Pool: pool}
	for _, n := range nodes {
		if n.Pool == pool && !n.Leaving {
			q.Nodes++
			q.Slots += int(n.Slots)
			q.Busy += int(n.Busy)
		}
	}
	backlog, err := c.engine.Backlog(ctx, pool)
	q.Waiting, q.Running = backlog.Waiting, backlog.Leased
	return q, err
}
