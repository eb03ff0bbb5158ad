package main

import (
	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/plugins/sqrt"
)

// eachRow measures dispatch without batches: each item is a message of its own, but the next item is sent without waiting for the answer. The peer
// puts all items into its queue at once. A contender with the default window is there for comparison.
func eachRow() row {
	return row{
		name:  "each",
		title: "items one by one, pipelined",
		about: "The roots of 0 to 99 999 on 2 processes, each item in a batch of its own (`Batch: 1`) and up to 64 of them on their way to one worker (`Window: 64`); by default it is 2.",
		size:  100_000, small: 2000,
		want: wantRoots,
		contenders: []contender{
			pooled(ours, sqrt.Workload, host.Config{Workers: 2, Batch: 1, Window: 64}, numberItems),
			pooled("parhost, the default window", sqrt.Workload, host.Config{Workers: 2, Batch: 1}, numberItems),
			peer(mpSingly, "mp_pool", "chunksize1"),
		},
		goals: []goal{
			itemsPerSecond(100_000),
			timesFaster(ours, 1, mpSingly),
		},
	}
}
