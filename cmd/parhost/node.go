package main

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/host/cluster"
)

// newWorker returns the worker command, which makes this machine a node of a cluster.
func newWorker(s *streams) *cobra.Command {
	var o nodeOptions
	cmd := &cobra.Command{
		Use:   "worker --cluster ADDRESS",
		Short: "let this machine run items of a cluster",
		Long: `Let this machine run items of a cluster, until it is told to end. The workloads that are built into parhost run by themselves. A plugin that a
submitter has uploaded runs only if --allow or --allow-lock names its SHA-256. --sandbox and the limits are the least that confines each worker: a job
may ask for more.`,
		Example: `  parhost worker --cluster nats://127.0.0.1:4222
  parhost worker --cluster nats://10.0.0.1:4222 --sandbox strict --allow-lock parhost.lock`,
		Args: between(0, 0, "parhost worker --cluster nats://127.0.0.1:4222"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := interruptible(cmd, s)
			defer stop()
			logs := options{logLevel: o.logLevel, logFormat: o.logFormat}
			log, err := logs.logger(s)
			if err != nil {
				return err
			}
			cfg := cluster.NodeConfig{Name: o.name, Pool: o.pool, Slots: o.procs, Workloads: builtin, Grace: o.grace, AllowEnv: o.allowEnv, Logger: log}
			if _, err := host.CountWorkers(o.procs); err != nil {
				return usageError("write --procs 1 for one worker, --procs -1 for one per CPU", "--procs 0: no worker could run anything")
			}
			if cfg.Sandbox, err = o.confinement.policyOrWarning(ctx, s); err != nil {
				return err
			}
			if cfg.Allow, err = o.allowed(); err != nil {
				return err
			}
			c, err := o.reach.connect(ctx, log, connectTime)
			if ctx.Err() != nil { // it was told to end before it was a node
				return nil
			}
			if err != nil {
				return err
			}
			defer c.Close()
			slots, _ := host.CountWorkers(o.procs)
			s.say("parhost: this node takes batches of pool %s for %d slots, from %s", o.pool, slots, o.reach.url)
			err = c.Serve(ctx, cfg)
			if err == nil {
				s.say("parhost: the node has left")
			}
			return clusterError(err)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	o.reach.flags(f)
	f.StringVar(&o.pool, "pool", "default", "`name` of the group of nodes to which this one belongs")
	f.IntVarP(&o.procs, "procs", "j", -1, "batches that run at once, and workers for each plugin; -1 = every CPU, -2 = all but one")
	f.StringVar(&o.name, "name", "", "the node's name (default the machine's, and the number of the process)")
	f.StringArrayVar(&o.allow, "allow", nil, "run the uploaded plugin that has this SHA-256: `sha256:HEX` (may be repeated), or any = whatever is uploaded")
	f.StringVar(&o.allowLock, "allow-lock", "", "run the uploaded plugins that this lock `file` holds for this platform")
	f.StringArrayVar(&o.allowEnv, "allow-env", nil, "let jobs set this variable of their workers: its `name` (may be repeated)")
	f.DurationVar(&o.grace, "grace", 30*time.Second, "how long batches may take to end when the node is told to")
	o.confinement.flags(f)
	f.StringVar(&o.logLevel, "log-level", "warn", "trace, debug, info, warn, error or off")
	f.StringVar(&o.logFormat, "log-format", "text", "text or json")
	return withExitCodes(cmd, "  0  it was told to end    2  wrong usage    3  the cluster cannot be reached    4  the sandbox cannot be given here\n")
}

// nodeOptions holds the flags of worker.
type nodeOptions struct {
	reach               reach
	pool, name          string
	procs               int
	allow               []string
	allowLock           string
	allowEnv            []string
	grace               time.Duration
	confinement         confinement
	logLevel, logFormat string
}

// allowed returns the rule for uploaded plugins. nil allows none.
func (o *nodeOptions) allowed() (func(cluster.Executable) error, error) {
	var sums []string
	for _, a := range o.allow {
		sum := strings.ToLower(strings.TrimPrefix(a, "sha256:"))
		if a != anyPlugin && !sha256Form().MatchString(sum) {
			return nil, usageError("write sha256: and 64 digits, as in sha256sum's output", "--allow %q is no SHA-256", a)
		}
		sums = append(sums, sum)
	}
	if o.allowLock != "" {
		l, err := readLock(o.allowLock)
		if err != nil {
			return nil, err
		}
		for _, e := range l.Plugins {
			if e.OS == runtime.GOOS && e.Arch == runtime.GOARCH {
				sums = append(sums, e.SHA256)
			}
		}
	}
	switch {
	case slices.Contains(sums, anyPlugin):
		return func(cluster.Executable) error { return nil }, nil
	case len(sums) == 0:
		return nil, nil
	}
	return func(e cluster.Executable) error {
		if slices.Contains(sums, e.SHA256) {
			return nil
		}
		return errors.New("it is none of those that " + fmt.Sprint(len(sums)) + " rules of --allow and --allow-lock name")
	}, nil
}

// anyPlugin is the value of --allow that allows every uploaded plugin.
const anyPlugin = "any"
