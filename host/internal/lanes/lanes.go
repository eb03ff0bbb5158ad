// Package lanes finds out which batches of a worker ran one after the other, because a worker does not say which of its threads ran a batch.
package lanes

import "time"

// Lanes are the lanes of one worker: rows of batches that ran one after the other. The zero value has none.
type Lanes struct {
	free []time.Time // when the last batch of each lane ended
}

// Place finds the lane of a batch that ran from begun to ended, for a worker that runs up to threads batches at once. from is when the batch began there. It is
// later than begun if the batch seems to have begun before the previous one in its lane had ended, which happens because times are measured in two processes.
func (l *Lanes) Place(begun, ended time.Time, threads int) (lane int, from time.Time) {
	best, first := -1, -1 // the lane that has been free for the shortest time; the lane that was free first
	for i := range min(len(l.free), max(1, threads)) {
		if first < 0 || l.free[i].Before(l.free[first]) {
			first = i
		}
		if !l.free[i].After(begun) && (best < 0 || l.free[i].After(l.free[best])) {
			best = i
		}
	}
	switch {
	case best >= 0:
		lane = best
	case len(l.free) < max(1, threads):
		lane = len(l.free)
		l.free = append(l.free, begun)
	default:
		lane = first
	}
	from = begun
	if l.free[lane].After(from) {
		from = l.free[lane]
	}
	if from.After(ended) {
		from = ended
	}
	if ended.After(l.free[lane]) {
		l.free[lane] = ended
	}
	return lane, from
}
