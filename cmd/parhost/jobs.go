package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/parhost/parhost/host/cluster"
	"github.com/parhost/parhost/internal/wire"
)

// newJobs returns the jobs command and its sub-commands.
func newJobs(s *streams) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "jobs",
		Short:   "list, attach to and cancel the jobs of a cluster",
		Example: "  parhost jobs list --cluster nats://127.0.0.1:4222\n  parhost jobs cancel nightly --cluster nats://127.0.0.1:4222",
		RunE:    groupOnly("parhost jobs list --cluster nats://127.0.0.1:4222"),
	}
	cmd.AddCommand(newJobsList(s), newJobsAttach(s), newJobsCancel(s))
	return cmd
}

const clusterCodes = "  0  done    2  wrong usage, or there is no such job    3  the cluster cannot be reached\n"

// ask runs a command that asks a cluster.
func (r *reach) ask(cmd *cobra.Command, s *streams, do func(ctx context.Context, c *cluster.Cluster) error) error {
	ctx, stop := interruptible(cmd, s)
	defer stop()
	logs := options{logLevel: "warn", logFormat: "text"}
	log, err := logs.logger(s)
	if err != nil {
		return err
	}
	c, err := r.connect(ctx, log, absentTime)
	if err != nil {
		return whenInterrupted(ctx, err)
	}
	defer c.Close()
	err = do(ctx, c)
	if err == nil || isPipeError(err) || ctx.Err() != nil {
		return whenInterrupted(ctx, err)
	}
	return clusterError(err)
}

func newJobsList(s *streams) *cobra.Command {
	var r reach
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "list --cluster ADDRESS",
		Short:   "list the jobs, the newest first",
		Example: "  parhost jobs list --cluster nats://127.0.0.1:4222",
		Args:    between(0, 0, "parhost jobs list --cluster nats://127.0.0.1:4222"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return r.ask(cmd, s, func(ctx context.Context, c *cluster.Cluster) error {
				jobs, err := c.Jobs(ctx)
				switch {
				case err != nil:
					return err
				case asJSON:
					return printJSON(s, nonNil(jobs))
				case len(jobs) == 0:
					s.say("parhost: there are no jobs; a run with --job-id is one that is kept")
					return nil
				}
				w := newTable("job", "state", "plugin", "pool", "done", "failed", "begun", "submitter")
				w.alignRight(5, 6)
				for _, j := range jobs {
					w.row(j.ID, j.State, j.Plugin, j.Pool, j.Done, j.Failed, ago(j.Created), j.Submitter)
				}
				return s.out.printf("%s\n", w.layout())
			})
		},
	}
	r.flags(cmd.Flags())
	cmd.Flags().BoolVar(&asJSON, "json", false, "a JSON list for programs")
	return withExitCodes(cmd, clusterCodes)
}

func newJobsAttach(s *streams) *cobra.Command {
	var r reach
	var raw bool
	cmd := &cobra.Command{
		Use:   "attach JOB --cluster ADDRESS",
		Short: "print the results of a job, and follow it to its end",
		Long: `Print the results of a job, one value a line, in the order of its items, and follow it to its end. It only reads: to go on with a job whose submitter is
gone, give the same command with the same --job-id, which has the items.`,
		Example: "  parhost jobs attach nightly --cluster nats://127.0.0.1:4222",
		Args:    between(1, 1, "parhost jobs attach nightly --cluster nats://127.0.0.1:4222"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return r.ask(cmd, s, func(ctx context.Context, c *cluster.Cluster) error { return attach(ctx, s, c, args[0], raw) })
		},
	}
	r.flags(cmd.Flags())
	cmd.Flags().BoolVar(&raw, "raw", false, "strings without quotes")
	return withExitCodes(cmd, "  0  done    1  some items failed, or results are missing    2  wrong usage, or there is no such job    3  the cluster cannot be reached\n")
}

func attach(ctx context.Context, s *streams, c *cluster.Cluster, id string, raw bool) error {
	failed := 0
	for got, err := range c.Results(ctx, id) {
		if err != nil {
			return err
		}
		if got.Err != nil {
			failed++
			s.say("parhost: %v", got.Err)
			continue
		}
		text := string(got.Value)
		if raw {
			_ = json.Unmarshal(got.Value, &text) // other values stay as they are
		}
		if err := s.out.printf("%s\n", word{text}); err != nil {
			return err
		}
	}
	if failed > 0 {
		s.say("parhost: %s failed", wire.Count(failed, "item"))
		return &exitError{code: exitFailed, err: errSaid}
	}
	return nil
}

func newJobsCancel(s *streams) *cobra.Command {
	var r reach
	cmd := &cobra.Command{
		Use:     "cancel JOB --cluster ADDRESS",
		Short:   "end a job: nodes stop what runs of it, and its submitter ends",
		Example: "  parhost jobs cancel nightly --cluster nats://127.0.0.1:4222",
		Args:    between(1, 1, "parhost jobs cancel nightly --cluster nats://127.0.0.1:4222"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return r.ask(cmd, s, func(ctx context.Context, c *cluster.Cluster) error {
				if err := c.Cancel(ctx, args[0]); err != nil {
					return fmt.Errorf("job %q: %w", args[0], err)
				}
				s.say("parhost: job %s is canceled", args[0])
				return nil
			})
		},
	}
	r.flags(cmd.Flags())
	return withExitCodes(cmd, clusterCodes)
}

func newNodes(s *streams) *cobra.Command {
	var r reach
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "nodes --cluster ADDRESS",
		Short:   "list the nodes of a cluster, and the jobs that they cannot run",
		Example: "  parhost nodes --cluster nats://127.0.0.1:4222",
		Args:    between(0, 0, "parhost nodes --cluster nats://127.0.0.1:4222"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return r.ask(cmd, s, func(ctx context.Context, c *cluster.Cluster) error {
				nodes, err := c.Nodes(ctx)
				switch {
				case err != nil:
					return err
				case asJSON:
					return printJSON(s, nonNil(nodes))
				case len(nodes) == 0:
					s.say("parhost: there are no nodes; parhost worker --cluster %s makes a machine one", r.url)
					return nil
				}
				w := newTable("node", "pool", "slots", "busy", "items", "platform", "parhost", "since", "does not run")
				w.alignRight(3, 4, 5)
				for _, n := range nodes {
					var unfit []string
					for _, job := range slices.Sorted(maps.Keys(n.Unfit)) {
						unfit = append(unfit, job+": "+n.Unfit[job].Message)
					}
					w.row(n.Name, n.Pool, n.Slots, n.Busy, n.Items, n.Platform, n.Version, ago(n.Since), strings.Join(unfit, "; "))
				}
				return s.out.printf("%s\n", w.layout())
			})
		},
	}
	r.flags(cmd.Flags())
	cmd.Flags().BoolVar(&asJSON, "json", false, "a JSON list for programs")
	return withExitCodes(cmd, clusterCodes)
}

func newQueue(s *streams) *cobra.Command {
	var r reach
	var asJSON bool
	var pool string
	cmd := &cobra.Command{
		Use:     "queue --cluster ADDRESS",
		Short:   "say how much work waits, for whatever starts nodes",
		Example: "  parhost queue --cluster nats://127.0.0.1:4222 --json",
		Args:    between(0, 0, "parhost queue --cluster nats://127.0.0.1:4222"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return r.ask(cmd, s, func(ctx context.Context, c *cluster.Cluster) error {
				q, err := c.Queue(ctx, pool)
				if err != nil {
					return err
				}
				if asJSON {
					return printJSON(s, q)
				}
				return s.out.printf("pool %s: batches: %d waiting, %d running · slots: %d busy of %d, on %s\n",
					q.Pool, q.Waiting, q.Running, q.Busy, q.Slots, wire.Count(q.Nodes, "node"))
			})
		},
	}
	r.flags(cmd.Flags())
	cmd.Flags().StringVar(&pool, "pool", "default", "`name` of the group of nodes")
	cmd.Flags().BoolVar(&asJSON, "json", false, "a JSON object for programs")
	return withExitCodes(cmd, clusterCodes)
}

func newExplain(s *streams) *cobra.Command {
	var r reach
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "explain JOB --cluster ADDRESS",
		Short:   "say why a job of a cluster runs, or does not",
		Example: "  parhost explain nightly --cluster nats://127.0.0.1:4222",
		Args:    between(1, 1, "parhost explain nightly --cluster nats://127.0.0.1:4222"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return r.ask(cmd, s, func(ctx context.Context, c *cluster.Cluster) error {
				e, err := c.Explain(ctx, args[0])
				if errors.Is(err, cluster.ErrNoJob) {
					return fmt.Errorf("job %q: %w", args[0], err)
				}
				if err != nil {
					return err
				}
				if asJSON {
					return printJSON(s, e)
				}
				if err := s.out.printf("%s: %s\n", word{e.Job.ID}, word{e.Summary}); err != nil || len(e.Nodes) == 0 {
					return err
				}
				w := newTable("node", "runs it", "why")
				for _, v := range e.Nodes {
					runs := "no"
					if v.Runs {
						runs = "yes"
					}
					w.row(v.Node, runs, v.Why)
				}
				return s.out.printf("%s\n", w.layout())
			})
		},
	}
	r.flags(cmd.Flags())
	cmd.Flags().BoolVar(&asJSON, "json", false, "a JSON object for programs")
	return withExitCodes(cmd, clusterCodes)
}

// nonNil makes an empty list one that JSON shows as [].
func nonNil[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// ago says how long ago something was.
func ago(t time.Time) string { return inWords(time.Since(t).Seconds()) + " ago" }
