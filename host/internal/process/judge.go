package process

import "github.com/parhost/parhost/host/internal/worker"

// death is the evidence about a worker's death, as far as it concerns the batches that the worker held.
type death struct {
	threads int       // number of batches that the worker ran at once
	shows   bool      // the worker's black box shows which items it runs
	orderly bool      // the worker ended its stream without an error, which says that all items that it began have an outcome
	killed  *killing  // why the host killed the worker; nil if it did not
	held    []holding // batches that the worker held, in the order in which they were sent
}

// killing is why the host killed a worker.
type killing struct {
	named    bool // the host killed the worker for one batch
	held     bool // the worker still holds that batch
	batch    int  // index of that batch in death.held
	item     *int // place in the batch of the item for which the host killed the worker; nil if unknown
	canceled bool // the reason was a canceled batch that did not end
}

// holding is a batch that a worker held when it died. Places count from the batch's first item.
type holding struct {
	next  int  // place of the first item without an outcome
	size  int  // items of the batch
	shown *int // place of the item that the black box names; nil if it names no item of this batch
}

// judge says for each batch that a dead worker held which item is to blame, and how the others run again (docs/ARCHITECTURE.md, "Blame"; docs/PROTOCOL.md,
// section 8). A worker begins batches in the order in which they were sent, as many at once as it has threads. So the first of these batches may have been
// running, and the others were not.
func judge(d death) []worker.Verdict {
	shown := false
	for _, h := range d.held {
		shown = shown || h.shown != nil
	}
	verdicts := make([]worker.Verdict, len(d.held))
	explained := false
	for i, h := range d.held {
		v := &verdicts[i]
		*v = d.judgeOne(i, h, shown)
		v.Crossed = v.Crossed || d.orderly
		if v.Crossed { // the stream says that the worker never had the batch
			v.Begun = 0
		}
		explained = explained || v.Outcome != worker.Innocent && !v.Crossed
	}
	for i := range verdicts {
		verdicts[i].Unexplained = !explained
	}
	return verdicts
}

// judgeOne judges one batch. shown says that the black box names an item of any batch.
func (d *death) judgeOne(i int, h holding, shown bool) worker.Verdict {
	mayRun := i < d.threads
	k := d.killed
	begun := 0 // items that may have begun, from h.next on
	switch {
	case h.shown != nil:
		begun = max(0, *h.shown-h.next) + 1
	case mayRun && !shown:
		begun = 1
	}
	own := k != nil && k.named && k.held && k.batch == i
	switch {
	case own && k.item != nil:
		if !mayRun || *k.item < h.next { // the item ended before the worker did
			return worker.Verdict{}
		}
		return worker.Verdict{Outcome: worker.Guilty, Item: *k.item, Begun: *k.item - h.next}
	case k != nil && k.named && !own && (k.canceled || !k.held || k.batch < d.threads): // the host killed the worker for another batch
		return worker.Verdict{Begun: begun}
	case h.shown != nil:
		item := max(h.next, *h.shown)
		if d.threads == 1 || h.next+1 == h.size && len(d.held) == 1 {
			return worker.Verdict{Outcome: worker.Guilty, Item: item, Begun: item - h.next}
		}
		return worker.Verdict{Outcome: worker.Suspect, Item: item, Begun: begun}
	case shown, !mayRun: // the worker ran other batches
		return worker.Verdict{Begun: begun}
	}
	v := worker.Verdict{Outcome: worker.AllSuspect, Begun: begun}
	if h.next+1 == h.size && (own || len(d.held) == 1) {
		v = worker.Verdict{Outcome: worker.Guilty, Item: h.next}
	}
	v.Crossed = !own && k == nil && d.shows // the worker shows what it runs, and has not shown this batch
	return v
}
