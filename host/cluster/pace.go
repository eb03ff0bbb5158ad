package cluster

import "time"

// pace says how many requests of a run may be on their way to the servers at a time.
type pace struct {
	most  int
	least time.Duration // that one took; 0 if none is known
}

// A server that is 80 ms away answers 512 requests at a time as 6400 a second, which is more than one that is near has stored.
const (
	leastAsking = 16
	mostAsking  = 512
)

func newPace() pace { return pace{most: leastAsking} }

// learn takes in how long a request took, or 0 for one that says nothing about it. As long as requests take about as long as a lone one, it is the way that
// takes the time, and more of them do not wait for one another.
func (p *pace) learn(took time.Duration, err error) {
	switch {
	case err != nil: // the next server may be nearer, or farther away
		*p = newPace()
	case took == 0:
	case p.least == 0 || took < p.least:
		p.least = took
	case took < 2*p.least:
		p.most = min(p.most+1, mostAsking)
	case took > 4*p.least:
		p.most = max(p.most-1, leastAsking)
	}
}
