package process

import (
	"slices"
	"testing"

	"github.com/parhost/parhost/host/internal/worker"
)

// The cases follow docs/ARCHITECTURE.md, "Blame", and docs/PROTOCOL.md, section 8.
func TestJudge(t *testing.T) {
	const innocent, guilty, suspect, all = worker.Innocent, worker.Guilty, worker.Suspect, worker.AllSuspect
	at := func(place int) *int { return &place }
	two := []holding{{next: 2, size: 10}, {next: 0, size: 10}}
	shown := []holding{{next: 2, size: 10, shown: at(5)}, {next: 0, size: 10, shown: at(0)}}
	for name, c := range map[string]struct {
		death death
		want  []worker.Verdict
	}{
		"nothing was held": {death{threads: 1}, []worker.Verdict{}},
		"one thread, no black box: any item left of the first batch may be it": {
			death{threads: 1, held: two}, []worker.Verdict{{Outcome: all, Begun: 1}, {}},
		},
		"one item left of the only batch": {
			death{threads: 1, held: []holding{{next: 9, size: 10}}}, []worker.Verdict{{Outcome: guilty, Item: 9}},
		},
		"one item left of a batch, and another batch waits: results may have been lost": {
			death{threads: 1, held: []holding{{next: 9, size: 10}, {size: 3}}}, []worker.Verdict{{Outcome: all, Begun: 1}, {}},
		},
		"one thread, and the black box names the item": {
			death{threads: 1, shows: true, held: []holding{{next: 2, size: 10, shown: at(5)}, {size: 3}}}, []worker.Verdict{{Outcome: guilty, Item: 5, Begun: 3}, {}},
		},
		"the black box names an item whose result has come": {
			death{threads: 1, shows: true, held: []holding{{next: 6, size: 10, shown: at(5)}}}, []worker.Verdict{{Outcome: guilty, Item: 6}},
		},
		"two threads, and the black box names an item of each": {
			death{threads: 2, shows: true, held: shown}, []worker.Verdict{{Outcome: suspect, Item: 5, Begun: 4}, {Outcome: suspect, Begun: 1}},
		},
		"two threads, and the black box names one": {
			death{threads: 2, shows: true, held: []holding{{next: 2, size: 10, shown: at(5)}, {size: 10}}}, []worker.Verdict{{Outcome: suspect, Item: 5, Begun: 4}, {}},
		},
		"the black box names the second batch": {
			death{threads: 1, shows: true, held: []holding{{next: 9, size: 10}, {size: 10, shown: at(0)}}}, []worker.Verdict{{}, {Outcome: guilty}},
		},
		"it shows what it runs, and shows nothing": {
			death{threads: 1, shows: true, held: two}, []worker.Verdict{{Outcome: all, Crossed: true, Unexplained: true}, {Unexplained: true}},
		},
		"it ended in good order": {
			death{threads: 1, orderly: true, held: two}, []worker.Verdict{{Outcome: all, Crossed: true, Unexplained: true}, {Crossed: true, Unexplained: true}},
		},
		"killed for an item that runs": {
			death{threads: 2, killed: &killing{named: true, held: true, batch: 0, item: at(4)}, held: shown},
			[]worker.Verdict{{Outcome: guilty, Item: 4, Begun: 2}, {Begun: 1}},
		},
		"killed for an item that has ended since": {
			death{threads: 1, killed: &killing{named: true, held: true, batch: 0, item: at(1)}, held: two}, []worker.Verdict{{Unexplained: true}, {Unexplained: true}},
		},
		"killed for an item of a batch that waits": {
			death{threads: 1, killed: &killing{named: true, held: true, batch: 1, item: at(0)}, held: two}, []worker.Verdict{{Outcome: all, Begun: 1}, {}},
		},
		"killed for a batch that has ended since": {
			death{threads: 1, killed: &killing{named: true}, held: two}, []worker.Verdict{{Begun: 1, Unexplained: true}, {Unexplained: true}},
		},
		"killed because a canceled batch does not end": {
			death{threads: 1, killed: &killing{named: true, held: true, batch: 1, canceled: true}, held: two}, []worker.Verdict{{Begun: 1, Unexplained: true}, {Unexplained: true}},
		},
		"killed for its silence on a batch with one item left": {
			death{threads: 1, killed: &killing{named: true, held: true, batch: 0}, held: []holding{{next: 9, size: 10}, {size: 3}}},
			[]worker.Verdict{{Outcome: guilty, Item: 9}, {}},
		},
		"killed for its silence on a batch with several": {
			death{threads: 1, killed: &killing{named: true, held: true, batch: 0}, held: two}, []worker.Verdict{{Outcome: all, Begun: 1}, {}},
		},
		"killed for a lie": {
			death{threads: 1, shows: true, killed: &killing{}, held: two}, []worker.Verdict{{Outcome: all, Begun: 1}, {}},
		},
		"more threads than batches": {
			death{threads: 4, held: two}, []worker.Verdict{{Outcome: all, Begun: 1}, {Outcome: all, Begun: 1}},
		},
	} {
		if got := judge(c.death); !slices.Equal(got, c.want) {
			t.Errorf("%s:\n got %+v\nwant %+v", name, got, c.want)
		}
	}
}
