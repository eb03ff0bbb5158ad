package cluster

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// Overview is what a cluster does, for all tenants.
type Overview struct {
	Nodes  []NodeInfo  `json:"nodes"`  // sorted by name; their Unfit has the jobs of all tenants, as TENANT/JOB
	Jobs   []JobInfo   `json:"jobs"`   // the newest first
	Queues []QueueInfo `json:"queues"` // of the pools that nodes or jobs name, sorted by name
}

// mostQueues is how many pools an [Overview] has: those of nodes before those of jobs. Each costs a request, and submitters name pools as they like.
const mostQueues = 64

// everyTenant matches the tenants of all jobs.
const everyTenant = "*"

// Overview returns what the cluster does. Only an operator may ask for it: for others the error matches [ErrRefused].
func (c *Cluster) Overview(ctx context.Context) (*Overview, error) {
	nodes, err := c.nodes(ctx)
	if err != nil {
		return nil, fmt.Errorf("nodes: %w", err)
	}
	o := &Overview{Nodes: make([]NodeInfo, 0, len(nodes))}
	if o.Jobs, err = c.jobsOf(ctx, everyTenant); err != nil {
		return nil, fmt.Errorf("jobs: %w", err)
	}
	var pools []string
	add := func(pool string) {
		if wordForm().MatchString(pool) && len(pools) < mostQueues && !slices.Contains(pools, pool) {
			pools = append(pools, pool)
		}
	}
	for _, n := range nodes {
		info := infoOfNode(n)
		for _, t := range n.Troubles {
			info.unfit(t.Tenant+"/"+t.Job, t)
		}
		o.Nodes = append(o.Nodes, info)
		add(n.Pool)
	}
	for i := range o.Jobs {
		add(o.Jobs[i].Pool)
	}
	slices.SortFunc(pools, strings.Compare)
	for _, pool := range pools {
		q, err := c.queue(ctx, pool, nodes)
		if err != nil {
			return nil, fmt.Errorf("queue of pool %q: %w", pool, err)
		}
		o.Queues = append(o.Queues, q)
	}
	return o, nil
}
