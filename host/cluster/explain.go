package cluster

import (
	"context"
	"errors"
	"fmt"
	"runtime"

	"google.golang.org/protobuf/proto"

	"github.com/parhost/parhost/host/cluster/internal/clusterpb"
	"github.com/parhost/parhost/host/cluster/internal/engine"
)

// Explanation says why a job runs, or does not.
type Explanation struct {
	Job     JobInfo   `json:"job"`
	Waiting int       `json:"waiting"` // batches of the job that wait or run; -1 if the server does not tell this user
	Summary string    `json:"summary"` // one sentence
	Nodes   []Verdict `json:"nodes"`   // of the job's pool
}

// Verdict says whether a node runs a job.
type Verdict struct {
	Node string `json:"node"`
	Runs bool   `json:"runs"`
	Why  string `json:"why"`
}

// Explain says why a job runs, or does not. The error is [ErrNoJob] if there is no such job.
func (c *Cluster) Explain(ctx context.Context, id string) (*Explanation, error) {
	key := engine.JobKey{Tenant: c.tenant, Job: id}
	body, _, err := c.engine.Job(ctx, key)
	if err != nil {
		return nil, noJob(err)
	}
	var j clusterpb.Job
	if err := proto.Unmarshal(body, &j); err != nil {
		return nil, err
	}
	nodes, err := c.nodes(ctx)
	if err != nil {
		return nil, err
	}
	e := &Explanation{Job: infoOf(key, &j)}
	if e.Waiting, err = c.engine.Queued(ctx, j.Pool, key); errors.Is(err, ErrRefused) {
		e.Waiting = -1
	} else if err != nil {
		return nil, err
	}
	fit, free := 0, 0
	for _, n := range nodes {
		if n.Pool != j.Pool {
			continue
		}
		v := judge(n, &j, key)
		if e.Nodes = append(e.Nodes, v); v.Runs {
			fit++
			free += int(n.Slots) - min(int(n.Busy), int(n.Slots))
		}
	}
	switch {
	case e.Job.State == "done", e.Job.State == "canceled":
		e.Summary = "the job is " + e.Job.State
	case len(e.Nodes) == 0:
		e.Summary = fmt.Sprintf("no node has the pool %q", j.Pool)
	case fit == 0:
		e.Summary = "no node of the pool can run it, or may"
	case e.Job.State == "away" && e.Waiting == 0:
		e.Summary = "its submitter is gone, and all that it had submitted has run; the same command with the same job id goes on with it"
	case e.Waiting == 0:
		e.Summary = "nothing of it waits: its submitter has no items, or takes no results"
	case free == 0:
		e.Summary = "all slots of the nodes that can run it are busy"
	default:
		e.Summary = "it runs"
	}
	return e, nil
}

// judge says whether a node runs a job: by what the node says of it, and for what it has not met yet by what it is.
func judge(n *clusterpb.Node, j *clusterpb.Job, key engine.JobKey) Verdict {
	v := Verdict{Node: n.Name}
	p := j.Spec.GetPlugin()
	switch t := troubleOf(n, key); {
	case t != nil:
		v.Why = t.Message
	case n.Leaving:
		v.Why = "it takes no more batches"
	case !compatible(n.Version, j.Spec.GetVersion()):
		v.Why = versionProblem(n.Version, j.Spec.GetVersion())
	case !p.GetBuiltin() && p.GetSha256()[n.Platform] == "" && p.GetSha256()[anyPlatform] == "":
		v.Why = platformProblem(n.Platform, p.GetName())
	case n.Busy >= n.Slots:
		v.Runs, v.Why = true, fmt.Sprintf("its %d slots are busy", n.Slots)
	default:
		v.Runs, v.Why = true, fmt.Sprintf("%d of its %d slots are free", n.Slots-n.Busy, n.Slots)
	}
	return v
}

func versionProblem(node, submitter string) string {
	return fmt.Sprintf("it is parhost %s, and the submitter is parhost %s; they understand each other if they are at most one minor version apart", node, submitter)
}

func platformProblem(platform, plugin string) string {
	return fmt.Sprintf("it is %s, and the job has no executable of plugin %q for that", platform, plugin)
}

// thisPlatform is the platform of this program.
const thisPlatform = runtime.GOOS + "/" + runtime.GOARCH
