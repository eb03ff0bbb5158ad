package main

import (
	"context"
	"encoding/json"
	"os"
	"os/signal"
	"sync/atomic"
	"time"

	"github.com/spf13/pflag"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/host/cluster"
)

// jobFlags holds the flags of a run on a cluster.
type jobFlags struct {
	reach
	id   string
	pool string
	also []string
}

func (j *jobFlags) flags(f *pflag.FlagSet) {
	j.reach.flags(f)
	f.StringVar(&j.id, "job-id", "", "`name` of the job on the cluster; the same command with the same name goes on with it, for a day (default a random one, of which nothing is kept)")
	f.StringVar(&j.pool, "pool", "default", "the nodes that run the job: those of parhost worker --pool `NAME`")
	f.StringArrayVar(&j.also, "plugin-for", nil, "executable of the plugin for nodes of another platform (may be repeated)")
}

// notOnACluster returns the flags that have no effect together with --cluster. The keys are the names of the flags, the values say why.
func notOnACluster() map[string]string {
	return map[string]string{
		"mode":      "nodes run items in processes",
		"procs":     "each node has its own number of workers, which parhost worker --procs says",
		"min-procs": "each node has its own number of workers", "standby": "each node has its own number of workers",
		"worker-max-idle": "nodes end the workers that they do not need", "window": "nodes take one batch for each of their slots",
		"ro": "files of this machine are none of a node's; parhost worker --ro opens those that are there", "rw": "files of this machine are none of a node's; parhost worker --rw opens those that are there",
		"joblog": "--job-id keeps results on the cluster", "resume": "--job-id keeps results on the cluster", "resume-failed": "--job-id keeps results on the cluster",
		"resume-anyway": "--job-id keeps results on the cluster",
		"dossier":       "the files of a failure are on the node", "ui": "parhost serve --ui shows jobs and nodes", "ui-keep": "there is no page", "ui-public": "there is no page",
		"trace": "a trace is of the workers of this machine",
	}
}

// runOnCluster runs the items on a cluster.
func (r *itemRun) runOnCluster(ctx context.Context, cfg host.Config) (err error) {
	begun := time.Now()
	if err := r.open(nil, r.input != "" || r.span != "" || len(r.items) > 0); err != nil {
		return err
	}
	if r.source == nil {
		examples, err := r.examples(ctx, cfg)
		if err != nil {
			return err
		}
		if err := r.open(examples, true); err != nil {
			return err
		}
	}
	defer r.source.close()
	spans := openSpans(ctx, r.streams, r.plugin)
	defer spans.end(r.streams)
	ctx = spans.Context(ctx)
	cfg.Observer = r.history
	if spans.Tracer != nil {
		cfg.Observer = host.ObserverFunc(func(e host.Event) {
			r.history.Observe(e)
			spans.Observe(e)
		})
	}
	signals := make(chan os.Signal, 2)
	notifyInterrupts(signals)
	relayed, stopWatching := r.watchReaders(ctx, signals)
	defer func() {
		if code, _ := exitCode(err); code != exitInterrupted {
			signal.Stop(signals)
			stopWatching()
		}
	}()
	var c *cluster.Cluster
	var job *cluster.Job
	err = interruptibly(ctx, relayed, func(ctx context.Context) (err error) {
		if c, err = r.job.connect(ctx, cfg.Logger, absentTime); err != nil {
			return err
		}
		wanted := cluster.JobConfig{ID: r.job.id, Pool: r.job.pool, Config: cfg, Plugins: r.job.also, Metadata: host.Metadata(ctx)}
		if r.seedGiven {
			wanted.Seed = &r.seed
		}
		job, err = c.Open(ctx, wanted)
		return clusterError(err)
	})
	if c != nil {
		defer c.Close()
	}
	if err != nil {
		return err
	}
	r.sum.start = time.Since(begun)
	r.sum.Seed, r.sum.Plugin, r.sum.Mode = job.Seed(), job.Plugin(), modeCluster
	ctx, leave := context.WithCancelCause(ctx)
	defer leave(nil)
	interrupted := r.watchJob(relayed, job, leave)
	r.progress.begin(r.source.total)
	err = r.takeJob(ctx, job)
	r.sum.wall = time.Since(begun)
	r.progress.end()
	if outErr := r.out.end(); r.lost == nil {
		r.lost = outErr
	}
	r.sum.Workers = job.Slots()
	return r.conclude(clusterError(err), interrupted(), nil)
}

// modeCluster stands in records and summaries for a run on a cluster.
const modeCluster host.Mode = "cluster"

// examples returns the plugin's own items.
func (r *itemRun) examples(ctx context.Context, cfg host.Config) ([]json.RawMessage, error) {
	m, err := host.Describe(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return examplesOf(m), nil
}

// takeJob runs the items and shows each result.
func (r *itemRun) takeJob(ctx context.Context, job *cluster.Job) error {
	items := r.source.items
	if r.underWay != nil {
		items = r.underWay.watch(items)
	}
	results := job.Stream
	if r.unordered {
		results = job.Unordered
	}
	shown := new(result)
	for got, err := range results(ctx, items) {
		if err != nil {
			return err
		}
		*shown = got
		if r.show(shown); r.enough {
			return nil
		}
	}
	return nil
}

// watchJob handles signals: the first one stops the job, the second one leaves it. The returned function stops that, and reports whether there was a signal.
func (r *itemRun) watchJob(signals <-chan os.Signal, job *cluster.Job, leave context.CancelCauseFunc) func() bool {
	over, done := make(chan struct{}), make(chan struct{})
	var seen atomic.Bool
	go func() {
		defer close(done)
		select {
		case <-signals:
			seen.Store(true)
		case <-over:
			return
		}
		if r.job.id != "" {
			r.say("parhost: interrupted: the job stays on the cluster for a day; the same command goes on with it, and parhost jobs cancel %s ends it", job.ID())
			leave(errInterrupted)
			return
		}
		r.say("parhost: interrupted: batches that nodes run end, no others begin; once more leaves them")
		job.Stop()
		select {
		case <-signals:
			leave(errInterrupted)
		case <-over:
		}
	}()
	return func() bool {
		close(over)
		<-done
		return seen.Load()
	}
}

// checkCluster refuses flags of a run on a cluster that cannot be used.
func checkCluster(o *options) error {
	if o.job.url == "" {
		return nil
	}
	if o.confinement.level == "auto" {
		return usageError("write --sandbox basic or strict; a node refuses what it cannot give", "--sandbox auto: each node would have another one")
	}
	return nil
}

// onThisMachine is why --compare has no use for a cluster.
const onThisMachine = "it runs the items on this machine in each mode"

// ofCluster is the effect of a flag that belongs to --cluster.
var ofCluster = all(notCompared(onThisMachine), onlyWith("cluster", "the run is on this machine"))
