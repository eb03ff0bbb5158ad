package host

import (
	"slices"
	"time"

	"github.com/parhost/parhost/internal/arena"
	"github.com/parhost/parhost/internal/pulse"
)

// sight is which item of a batch a worker says that it runs.
type sight struct {
	item  int
	since time.Time
}

// look is when the host first saw an item run.
type look struct {
	item  int
	since pulse.Mark
}

// blackBox returns which item each call is at, as far as the worker's entries tell: they may say anything. Called with mu held,
// while the arena is mapped.
func (p *process) blackBox() map[*call]sight {
	if !p.shared {
		return nil
	}
	seen := map[*call]sight{}
	for n := range min(p.threads, arena.MaxThreads) {
		id, item, since := p.shelf.arena.Entry(n).Read()
		if b := p.session.Find(id); b != nil && item < uint64(b.Count()) {
			seen[b.Receiver.(*call)] = sight{int(item), since}
		}
	}
	return seen
}

// underWay says which items run. What a worker says of times before it got the batch, or to come, is corrected.
func (p *process) underWay() []Running {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over {
		return nil
	}
	now := time.Now()
	var items []Running
	for c, s := range p.blackBox() {
		if s.since.Before(c.Sent()) {
			s.since = c.Sent()
		}
		if s.since.After(now) {
			s.since = now
		}
		items = append(items, Running{Index: c.b.first() + c.base + s.item, Since: s.since})
	}
	slices.SortFunc(items, func(a, b Running) int { return a.Index - b.Index })
	return items
}

// stuck returns the item of c that has been running for longer than its limit and the grace, by the host's own clock: a worker whose
// threads are all held up, or that is stopped, does not notice itself. Called with mu held.
func (p *process) stuck(c *call) (item int, ok bool) {
	s, seen := p.blackBox()[c]
	if !seen || c.seen.since.At.IsZero() || c.seen.item != s.item {
		c.seen = look{s.item, p.cfg.pulse.Mark()}
		return 0, false
	}
	return s.item, p.cfg.pulse.Since(c.seen.since) > c.b.orders().timeout+p.cfg.Grace
}
