package history

import (
	"slices"
	"time"

	"github.com/parhost/parhost/host"
)

// maxLives is how many starts and ends of workers are kept one by one: the latest.
const maxLives = 1024

// Life is the start or the end of a worker.
type Life struct {
	At      time.Time     `json:"at"`
	Worker  int           `json:"worker"`
	PID     int           `json:"pid"`
	End     bool          `json:"end,omitempty"`     // it ended; else it became ready
	Took    time.Duration `json:"took_ns,omitempty"` // of a start: from exec to ready
	Replace bool          `json:"replace,omitempty"` // of a start: it took the place of one that ended
	Items   int           `json:"items,omitempty"`   // of an end: that it ran
	Reason  string        `json:"reason,omitempty"`  // of an end: as in host.WorkerEnded
	Cause   host.Cause    `json:"cause,omitempty"`   // of an end: as in host.WorkerEnded
}

// lives is a ring of the latest starts and ends.
type lives struct {
	ring []Life
	next int // where the next one goes, once the ring is full
}

func (l *lives) add(life Life) {
	if len(l.ring) < maxLives {
		l.ring = append(l.ring, life)
		return
	}
	l.ring[l.next] = life
	l.next = (l.next + 1) % maxLives
}

// Lives returns the latest starts and ends of workers, at most 1024, in the order in which they happened.
func (s *Store) Lives() []Life {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Concat(s.lives.ring[s.lives.next:], s.lives.ring[:s.lives.next])
}
