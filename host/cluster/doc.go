// Package cluster runs the items of one program on the machines of many.
//
// A submitter opens a job and ranges over its results, as it does with the pool of package host. Each machine that takes part runs a node, which leases
// batches of items, runs them on pools of its own, and stores their results. Batches and results travel over NATS JetStream: a stock nats-server, or the
// same server in this process (package server).
//
//	c, err := cluster.Connect(ctx, cluster.Config{URL: "nats://127.0.0.1:4222"})
//	…
//	defer c.Close()
//	job, err := c.Open(ctx, cluster.JobConfig{Config: host.Config{Workload: sqrt.Workload}})
//	…
//	for result, err := range job.Stream(ctx, items) {
//
// The submitter has all items until it has their results, so whatever else dies, nothing is lost: it offers again what is overdue. The first result that is
// stored for a batch is the only one, so nothing comes twice. An item may run twice, on two nodes.
//
// The package starts nothing on other machines.
package cluster
