package host

import (
	"cmp"
	"fmt"
	"math"
	"runtime/debug"
	"slices"

	"github.com/parhost/parhost/internal/wire"
)

// Each batch has a credit: the bytes of results that the worker may send without asking. For more it has to ask first. So the memory of a run is
// bounded whatever its plugin does. A run holds at most limit bytes of results in its blocks (bytes granted later included), limit bytes of initial
// credit, and what it grants to one batch beyond that so that the run can go on (see [run.answer]).

// leastCredit is the credit that each batch has, in bytes, however many batches are under way. For less than that, asking would cost too much.
const leastCredit = 4 << 10

// leastResult is the credit that each item adds to its batch, in bytes: room for a number, or for a short text and its entry in the column. A run
// holds a bounded number of items, so this is bounded too.
const leastResult = 16

// credit returns the credit of one batch in bytes, so that all batches under way have at most limit together. Most batches need no more, because
// batches are sized by the bytes of their results.
func (s *sizer) credit(limit, window int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return max(leastCredit, min(2*s.heaviest, limit/max(1, s.parallel*window)))
}

// ask is a batch that needs credit for its next results. answer has room for one.
type ask[In, Out any] struct {
	task   *task[In, Out]
	bytes  int
	answer chan<- answer
}

// answer is what becomes of an ask.
type answer struct {
	bytes   int             // of results that may come
	refused *wire.ItemError // what the items fail with instead: the batch is to be cancelled
}

// need asks for credit.
func (t *task[In, Out]) need(bytes int, to chan<- answer) {
	r := t.run
	r.mu.Lock()
	defer r.mu.Unlock()
	r.peel(t)
	a := ask[In, Out]{t, bytes, to}
	at, _ := slices.BinarySearchFunc(r.asks, a, func(a, b ask[In, Out]) int { return cmp.Compare(a.task.index, b.task.index) })
	r.asks = slices.Insert(r.asks, at, a)
	r.answer()
}

// peel splits off the items of a task that have an outcome from its block, so that the caller can take their results. Called with mu held.
func (r *run[In, Out]) peel(t *task[In, Out]) {
	at := t.from + t.settled()
	rest, _ := r.part(t.block, at, t.to)
	if rest != t.block {
		t.block, t.from, t.to = rest, t.from-at, t.to-at
	}
}

// answer grants credit to the batches that ask, in input order. It stays within the run's limit, except for one batch at a time that all others wait
// for. Called with mu held.
func (r *run[In, Out]) answer() {
	for len(r.asks) > 0 {
		a := r.asks[0]
		if r.bytes+r.granted+a.bytes > r.limit {
			if r.exempt != nil || r.takable() || !r.blocking(a.task) {
				return
			}
			if held, most := r.awaited(a); held+a.bytes > most {
				r.reply(a, answer{refused: &wire.ItemError{
					Kind: wire.Oversize, Size: int64(held + a.bytes),
					Message: fmt.Sprintf("results that wait for those of other items would be %d bytes, and the run may hold %d", held+a.bytes, most),
				}})
				continue
			}
			r.exempt = a.task
		}
		r.granted += a.bytes
		a.task.granted = a.bytes
		r.reply(a, answer{bytes: a.bytes})
	}
}

// takable reports whether a block is complete. Called with mu held.
func (r *run[In, Out]) takable() bool { return r.blocks.head != nil && r.blocks.head.left == 0 }

// blocking reports whether the run cannot go on until t gets credit: t is the first task of the input, or the first task has not begun, perhaps because
// no worker is free. Called with mu held.
func (r *run[In, Out]) blocking(t *task[In, Out]) bool {
	if !r.ordered {
		return r.granted == 0
	}
	first := t
	for _, u := range r.under {
		if u.index < first.index {
			first = u
		}
	}
	if n := len(r.again); n > 0 && r.again[n-1].index < first.index {
		return true
	}
	return first == t || !first.hasBegun()
}

// awaited returns the bytes that the run holds while it waits for the batch that asks, and the most that it may hold once that batch has its credit.
// Called with mu held.
func (r *run[In, Out]) awaited(a ask[In, Out]) (held, most int) {
	message := r.pool.cfg.messageBytes()
	if b := a.task.block; !r.ordered || b == r.blocks.head {
		return b.bytes - b.weight, r.limit + message // of a block that has several tasks: else what was settled has left it
	}
	return r.bytes + r.granted, r.limit + max(1, r.pool.cfg.Workers*r.pool.cfg.Window)*message
}

// reply answers the first who asks. Called with mu held.
func (r *run[In, Out]) reply(a ask[In, Out], with answer) {
	r.asks = slices.Delete(r.asks, 0, 1) // which lets go of the task
	a.answer <- with
}

// redeem says that what a task was granted has come, or never will. Called with mu held.
func (r *run[In, Out]) redeem(t *task[In, Out]) {
	r.granted -= t.granted
	t.granted = 0
	if r.exempt == t {
		r.exempt = nil
	}
}

// hasBegun reports whether a task's worker may have begun it.
func (t *task[In, Out]) hasBegun() bool {
	w := t.worker.Load()
	return w != nil && (*w).hasBegun(t)
}

// enlist puts a task into the list of those under way. Called with mu held.
func (r *run[In, Out]) enlist(t *task[In, Out]) {
	t.listed = len(r.under)
	r.under = append(r.under, t)
}

// strike takes it out of the list, with whatever it has asked for. Called with mu held.
func (r *run[In, Out]) strike(t *task[In, Out]) {
	last := len(r.under) - 1
	r.under[t.listed] = r.under[last]
	r.under[t.listed].listed = t.listed
	r.under[last] = nil
	r.under = r.under[:last]
	r.redeem(t)
	r.asks = slices.DeleteFunc(r.asks, func(a ask[In, Out]) bool { return a.task == t })
	r.answer()
}

// memoryShare is a quarter of Go's soft memory limit (GOMEMLIMIT, [debug.SetMemoryLimit]): what is held travels through copies, and garbage waits
// for its collection. It is 0 if there is no limit.
func memoryShare() int {
	limit := debug.SetMemoryLimit(-1)
	if limit == math.MaxInt64 {
		return 0
	}
	return int(min(max(limit/4, 1<<20), math.MaxInt32))
}

// bytes is what a run of the pool may hold.
func (p *Pool) bytes() int {
	if p.share > 0 {
		return min(mostBytes, p.share)
	}
	return mostBytes
}
