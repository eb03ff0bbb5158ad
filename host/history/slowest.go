package history

import (
	"slices"
	"time"
)

// maxSlowest is how many of the items that took longest are kept.
const maxSlowest = 10

// Item is an item that took long.
type Item struct {
	Place  int           `json:"place"` // in the input
	Worker int           `json:"worker"`
	Begun  time.Time     `json:"begun"`
	Took   time.Duration `json:"took_ns"`        // in the workload
	Item   string        `json:"item,omitempty"` // its text, if an event had it
}

// slowest are the items that took longest, the longest first.
type slowest []Item

// takes reports whether an item that took this long is among the slowest.
func (s *slowest) takes(took time.Duration) bool {
	return len(*s) < maxSlowest || took > (*s)[maxSlowest-1].Took
}

// offer adds an item if it is among the slowest.
func (s *slowest) offer(item Item) {
	if !s.takes(item.Took) {
		return
	}
	at, _ := slices.BinarySearchFunc(*s, item.Took, func(a Item, took time.Duration) int {
		if a.Took >= took {
			return -1
		}
		return 1
	})
	*s = slices.Insert((*s)[:min(len(*s), maxSlowest-1)], at, item)
}

// Slowest returns the items that took longest in the workload, the longest first, and at most ten. Of items so short that they were not timed one by one, the
// first of each batch counts, with the mean of the batch.
func (s *Store) Slowest() []Item {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.slowest)
}
