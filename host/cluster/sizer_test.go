package cluster

import (
	"errors"
	"testing"
	"time"
)

// ran is an answer for n items that took so long each.
func ran(n int, each time.Duration) *answer {
	a := &answer{results: make([]result, n)}
	for i := range a.results {
		a.results[i].Run = each
	}
	return a
}

// settled is a sizer that has measured items for some time.
func settled(slots int, way, each, age time.Duration) sizer {
	s := newSizer(0)
	s.slots, s.way = slots, way
	now := time.Now()
	s.took(ran(1, each), now)
	for range 8 { // it grows step by step
		s.took(ran(1, each), now.Add(age))
	}
	return s
}

func TestBatchesGrowWithTheClusterAndItsDistance(t *testing.T) {
	for name, c := range map[string]struct {
		slots    int
		way, age time.Duration
		want     time.Duration // that a batch takes
	}{
		"few slots":                           {8, time.Millisecond, time.Hour, 100 * time.Millisecond},
		"many slots":                          {2000, time.Millisecond, time.Hour, 2 * time.Second},
		"very many slots":                     {50_000, time.Millisecond, time.Hour, 10 * time.Second},
		"many slots, when a run has begun":    {2000, time.Millisecond, 0, 100 * time.Millisecond},
		"many slots, when a run is still new": {2000, time.Millisecond, time.Second, 500 * time.Millisecond},
		"far servers":                         {8, 80 * time.Millisecond, time.Hour, 800 * time.Millisecond},
		"far servers that do not answer yet":  {8, 0, time.Hour, 100 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			s := settled(c.slots, c.way, 2*time.Millisecond, c.age)
			if got := time.Duration(s.size(1<<20, false)) * 2 * time.Millisecond; got != c.want {
				t.Errorf("a batch takes %v, want %v", got, c.want)
			}
		})
	}
}

func TestTheLastBatchesDoNotBecomeTiny(t *testing.T) {
	s := settled(2000, 0, time.Millisecond, time.Hour)
	if got := s.size(4000, true); got != 2000/endShare {
		t.Errorf("got a batch of %d items at the end, want %d", got, 2000/endShare)
	}
}

func TestLongBatchesDoNotQueueUp(t *testing.T) {
	for each, want := range map[time.Duration]int{time.Millisecond: 4 * 100, 200 * time.Millisecond: 3 * 100, time.Minute: 2 * 100} {
		if s := settled(100, 0, each, time.Hour); s.window() != want {
			t.Errorf("items of %v: %d batches are under way for 100 slots, want %d", each, s.window(), want)
		}
	}
}

func TestAFarServerIsAskedMoreAtATime(t *testing.T) {
	p := newPace()
	for range 1000 {
		p.learn(80*time.Millisecond, nil)
	}
	if p.most != mostAsking {
		t.Errorf("got %d requests at a time, want %d", p.most, mostAsking)
	}
	for range 1000 {
		p.learn(time.Second, nil) // they wait for one another
	}
	if p.most != leastAsking {
		t.Errorf("got %d requests at a time to a server that is slow, want %d", p.most, leastAsking)
	}
	p.learn(time.Second, errors.New("the server is away"))
	if p != newPace() {
		t.Errorf("got %+v after an error, want a new pace", p)
	}
}
