package host

import (
	"cmp"
	"fmt"
	"math"
	"runtime/debug"
	"slices"

	"github.com/parhost/parhost/host/internal/worker"
	"github.com/parhost/parhost/protocol"
)

// Each batch has a credit: the bytes of results that the worker may send without asking. For more it has to ask first. So the memory of a run is
// bounded whatever its plugin does. A run holds at most limit bytes of results in its chunks (bytes granted later included), limit bytes of initial
// credit, and one message of each batch under way that it accepts beyond that so that the run can go on (see [run.grantCredits]).

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

// creditRequest is a batch that needs credit for its next results. answer has room for one.
type creditRequest[In, Out any] struct {
	batch  *batch[In, Out]
	bytes  int
	answer chan<- worker.Credit
}

// RequestCredit is part of [worker.Batch].
func (b *batch[In, Out]) RequestCredit(bytes int, to chan<- worker.Credit) {
	r := b.run
	r.mu.Lock()
	defer r.mu.Unlock()
	r.peel(b)
	a := creditRequest[In, Out]{b, bytes, to}
	at, _ := slices.BinarySearchFunc(r.creditRequests, a, func(a, b creditRequest[In, Out]) int { return cmp.Compare(a.batch.index, b.batch.index) })
	r.creditRequests = slices.Insert(r.creditRequests, at, a)
	r.grantCredits()
}

// peel splits the items that have an outcome off a batch's chunk, so that the caller can take their results. Called with mu held.
func (r *run[In, Out]) peel(b *batch[In, Out]) {
	at := b.from + b.Done()
	if rest := r.part(b.chunk, at); rest != b.chunk {
		b.chunk, b.from = rest, b.from-at
		rest.batch = b
	}
}

// grantCredits grants credit to the batches that ask, in input order. It stays within the run's limit, except for one message at a time without which the
// run could not go on:
//   - of the first batch of the input, which all others wait for;
//   - of any other batch, if the first one needs a worker. The worker then hands back the items of the batch that it has not begun, and is free for the
//     first. The sum of such messages is bounded, because a plugin may run any number of batches at once: results beyond the bound fail.
//
// Called with mu held.
func (r *run[In, Out]) grantCredits() {
	for len(r.creditRequests) > 0 {
		a := r.creditRequests[0]
		if r.bytes+r.granted+a.bytes <= r.limit {
			r.grantFirst(a, worker.Credit{Bytes: a.bytes})
			continue
		}
		if r.exempt != nil || r.takable() {
			return
		}
		first := r.first()
		switch {
		case !r.ordered && r.granted > 0, r.ordered && first == nil: // something is on its way, or waits for its next attempt
			return
		case !r.ordered, first == a.batch:
			r.grantFirst(a, worker.Credit{Bytes: a.bytes})
		case first.hasBegun():
			return
		default:
			if held, most := r.bytes+r.granted+a.bytes, r.limit+r.pool.held()*r.pool.cfg.messageBytes(); held > most {
				r.grantFirst(a, worker.Credit{Stop: true, Refused: &protocol.ItemError{
					Kind: protocol.KindOversize, Size: int64(held),
					Message: fmt.Sprintf("results that wait for an item before them would be %d bytes, and the run may hold %d", held, most),
				}})
				continue
			}
			r.grantFirst(a, worker.Credit{Bytes: a.bytes, Stop: true})
		}
		r.exempt = a.batch
	}
}

// takable reports whether a chunk is complete. Called with mu held.
func (r *run[In, Out]) takable() bool { return r.chunks.head != nil && r.chunks.head.left == 0 }

// first returns the batch of the first chunk that has not been taken, nil if its item waits for another attempt, or if results need not be in order.
// Called with mu held.
func (r *run[In, Out]) first() *batch[In, Out] {
	if !r.ordered || r.chunks.head == nil {
		return nil
	}
	return r.chunks.head.batch
}

// maxThreads is how many of a worker's threads count if only the plugin's manifest asks for them.
const maxThreads = 8

// held is how many messages of results a run may accept beyond its limit: one for each batch that the workers have at once.
func (p *Pool) held() int {
	threads := p.cfg.Threads
	if threads == 0 {
		threads = max(1, min(p.manifest.Threads, maxThreads))
	}
	return p.cfg.Workers * threads * p.cfg.Window
}

// grantFirst answers the first ask. Called with mu held.
func (r *run[In, Out]) grantFirst(a creditRequest[In, Out], with worker.Credit) {
	r.creditRequests = slices.Delete(r.creditRequests, 0, 1) // so that the array holds the batch no longer
	r.granted += with.Bytes
	a.batch.granted += with.Bytes
	a.answer <- with
}

// endGrant takes back the credit that was granted to a batch: its results have come, or will never come. Called with mu held.
func (r *run[In, Out]) endGrant(b *batch[In, Out]) {
	r.granted -= b.granted
	b.granted = 0
	if r.exempt == b {
		r.exempt = nil
	}
}

// withdraw cancels a batch's request for credit and returns what was granted to the batch. Called with mu held.
func (r *run[In, Out]) withdraw(b *batch[In, Out]) {
	r.endGrant(b)
	r.creditRequests = slices.DeleteFunc(r.creditRequests, func(a creditRequest[In, Out]) bool { return a.batch == b })
	r.grantCredits()
}

// hasBegun reports whether a batch's worker may have begun it.
func (b *batch[In, Out]) hasBegun() bool {
	w := b.worker.Load()
	return w != nil && (*w).HasBegun(b)
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
		return min(maxBytes, p.share)
	}
	return maxBytes
}
