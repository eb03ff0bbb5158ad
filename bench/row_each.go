package main

import (
	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/plugins/sqrt"
)

// eachRow is dispatch without batches: every item is a message of its own, but nobody waits for the answer to send the next.
func eachRow() row {
	return row{
		name:  "each",
		title: "items one by one, pipelined",
		about: "The roots of 0 to 99 999 on 2 processes, each item in a batch of its own (`Batch: 1`). The window is how many batches are on their way to one worker.",
		size:  100_000, small: 2000,
		want: wantRoots,
		contenders: []contender{
			pooled(ours, host.Config{Workload: sqrt.Workload, Workers: 2, Batch: 1}, numberItems),
			pooled("parhost, Window: 64", host.Config{Workload: sqrt.Workload, Workers: 2, Batch: 1, Window: 64}, numberItems),
			peer(mpSingly, "mp_pool", "chunksize1"),
		},
		goals: []goal{
			itemsPerSecond(100_000),
			timesFaster(ours, 1, mpSingly),
		},
	}
}
