package cluster

import (
	"container/heap"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/parhost/parhost/host/cluster/internal/clusterpb"
	"github.com/parhost/parhost/host/cluster/internal/engine"
)

// costs are what the simulated servers and the ways to them take. They are fitted to throughputs that were measured with 8 slots on 2 cores which servers, nodes
// and submitter shared, so a leader of its own is likely to be faster.
type costs struct {
	stored  time.Duration // of a leader, for each message that it stores: one for a batch, one for its result
	perByte float64       // nanoseconds of a leader, for each byte that it stores
	trip    time.Duration // from a client to a server and back
}

// One server with files took 4760 batches a second of 10 kB, and about 9000 of 100 B. Three servers, with three copies, took 1380 of 10 kB.
func oneServer() costs {
	return costs{stored: 62 * time.Microsecond, perByte: 7.4, trip: 200 * time.Microsecond}
}

func threeServers() costs {
	return costs{stored: 277 * time.Microsecond, perByte: 15, trip: 200 * time.Microsecond}
}

// simulated is an engine whose servers, ways and nodes are simulated. What asks it is the real submitter. It needs a bubble of testing/synctest, whose clock
// stands still while the submitter computes.
type simulated struct {
	engine.Engine // what a submitter does not use
	costs
	item    json.RawMessage // all items are this one
	runs    time.Duration   // an item, on average
	lease   time.Duration
	leaders []leader // one for each partition; the job decides which one
	rand    *rand.Rand

	mu      sync.Mutex
	began   time.Time
	events  agenda
	order   int
	wake    chan struct{}
	idle    []*place // whose requests for a batch wait at the servers, the first one first
	nodes   []*machine
	claim   float64           // of their slots, how many nodes say that they have
	entries map[string][]byte // of nodes
	jobs    map[engine.JobKey]*watched
	turn    int // of the partitions

	done                 int           // items with a stored result
	goal                 int           // of done; 0 for none
	reached              chan struct{} // closed when done is goal
	half                 time.Duration // when done was half of goal
	end                  time.Duration // when done was goal
	puts, lookups, again int
}

// leader is the server that stores the messages of a partition, one after the other.
type leader struct {
	free    time.Duration // when it has stored all that has arrived
	waiting []*parcel     // batches that no node has
}

// parcel is a batch at the servers.
type parcel struct {
	key   engine.Key
	items int
	given int // how often a node got it
}

// machine is a node.
type machine struct {
	places []*place
	life   int // counts its deaths
	dead   bool
	since  time.Duration // it is dead
}

// place is a slot.
type place struct {
	at    *machine
	holds *parcel
	got   time.Duration // when it got that
}

// watched is what the servers know of a job.
type watched struct {
	leader  *leader
	queued  map[uint64]*parcel // waiting or leased
	results map[uint64]int     // items
	reports []engine.Result
	more    chan struct{}
}

type happening struct {
	at    time.Duration
	order int // among those of the same time
	do    func()
}

type agenda []happening

func (h agenda) Len() int { return len(h) }
func (h agenda) Less(i, k int) bool {
	return h[i].at < h[k].at || h[i].at == h[k].at && h[i].order < h[k].order
}
func (h agenda) Swap(i, k int) { h[i], h[k] = h[k], h[i] }
func (h *agenda) Push(x any)   { *h = append(*h, x.(happening)) }
func (h *agenda) Pop() any {
	old := *h
	last := old[len(old)-1]
	old[len(old)-1] = happening{}
	*h = old[:len(old)-1]
	return last
}

// slotsOfANode is how many slots a simulated node has at the most.
const slotsOfANode = 64

// newSimulated makes servers, and nodes with so many slots. It lives until ctx ends.
func newSimulated(ctx context.Context, c costs, slots, partitions int, runs time.Duration) *simulated {
	s := &simulated{
		costs: c, runs: runs, lease: 10 * time.Second, leaders: make([]leader, partitions), rand: rand.New(rand.NewPCG(1, uint64(slots))),
		item: json.RawMessage(fmt.Sprintf("%0100d", 1)), began: time.Now(), wake: make(chan struct{}, 1), jobs: map[engine.JobKey]*watched{}, reached: make(chan struct{}), claim: 1,
	}
	s.item[0] = '1' // a number does not begin with 0
	for slots > 0 {
		m := &machine{}
		for range min(slots, slotsOfANode) {
			p := &place{at: m}
			m.places = append(m.places, p)
			s.idle = append(s.idle, p)
		}
		slots -= len(m.places)
		s.nodes = append(s.nodes, m)
	}
	go s.live(ctx)
	return s
}

func (s *simulated) now() time.Duration { return time.Since(s.began) }

// after lets something happen later.
func (s *simulated) after(wait time.Duration, do func()) {
	s.order++
	heap.Push(&s.events, happening{s.now() + wait, s.order, do})
	if s.events[0].order == s.order {
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
}

func (s *simulated) live(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	for {
		s.mu.Lock()
		for len(s.events) > 0 && s.events[0].at <= s.now() {
			heap.Pop(&s.events).(happening).do()
		}
		next := time.Hour
		if len(s.events) > 0 {
			next = s.events[0].at - s.now()
		}
		s.mu.Unlock()
		timer.Reset(next)
		select {
		case <-timer.C:
		case <-s.wake:
		case <-ctx.Done():
			return
		}
	}
}

// store lets a leader store a message that is on its way to it.
func (s *simulated) store(l *leader, bytes int, then func()) {
	s.after(s.trip/2, func() {
		l.free = max(l.free, s.now()) + s.stored + time.Duration(s.perByte*float64(bytes))
		s.after(l.free-s.now(), then)
	})
}

func (s *simulated) job(key engine.JobKey) *watched {
	j := s.jobs[key]
	if j == nil {
		j = &watched{leader: &s.leaders[len(s.jobs)%len(s.leaders)], queued: map[uint64]*parcel{}, results: map[uint64]int{}, more: make(chan struct{}, 1)}
		s.jobs[key] = j
	}
	return j
}

// Put implements [engine.Sender].
func (s *simulated) Put(ctx context.Context, _ string, key engine.Key, body []byte) (uint64, error) {
	stored := make(chan struct{})
	s.mu.Lock()
	s.puts++
	j := s.job(key.JobKey)
	s.store(j.leader, len(body), func() {
		if j.queued[key.First] == nil {
			p := &parcel{key: key, items: len(body) / (len(s.item) + 2)} // the batch's own fields are shorter than an item
			j.queued[key.First] = p
			j.leader.waiting = append(j.leader.waiting, p)
			s.give()
		}
		s.after(s.trip/2, func() { close(stored) })
	})
	s.mu.Unlock()
	select {
	case <-stored:
		return 0, nil
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
}

// give gives batches to the slots that ask for one. The partitions take turns.
func (s *simulated) give() {
	for len(s.idle) > 0 {
		var p *parcel
		for i := 0; i < len(s.leaders) && p == nil; i++ {
			s.turn++
			if l := &s.leaders[s.turn%len(s.leaders)]; len(l.waiting) > 0 {
				p, l.waiting = l.waiting[0], l.waiting[1:]
			}
		}
		if p == nil {
			return
		}
		slot := s.idle[0]
		s.idle = s.idle[1:]
		s.run(slot, p)
	}
}

// run is what a slot does: it gets the batch, runs it, stores the result, and asks for another batch when that is acknowledged.
func (s *simulated) run(slot *place, p *parcel) {
	j, life := s.jobs[p.key.JobKey], slot.at.life
	slot.holds, slot.got = p, s.now()
	p.given++
	way := s.trip / 2
	if p.given > 1 { // it looks for a result, and counts how often the batch was begun
		way += 3 * s.trip
	}
	each := time.Duration(float64(s.runs) * (0.8 + 0.4*s.rand.Float64()))
	s.after(way+time.Duration(p.items)*each, func() {
		if slot.at.life != life {
			return
		}
		r := engine.Result{Key: p.key, Items: p.items, Body: s.results(p.key.First, p.items, each)}
		s.store(j.leader, len(r.Body), func() {
			if slot.at.life != life {
				return
			}
			slot.holds = nil
			delete(j.queued, p.key.First)
			s.after(s.trip, func() {
				if slot.at.life == life {
					s.idle = append(s.idle, slot)
					s.give()
				}
			})
			if j.results[p.key.First] != 0 {
				s.again++
				return
			}
			j.results[p.key.First] = p.items
			s.count(p.items)
			s.after(s.trip/2, func() {
				j.reports = append(j.reports, r)
				select {
				case j.more <- struct{}{}:
				default:
				}
			})
		})
	})
}

func (s *simulated) count(items int) {
	was := s.done
	s.done += items
	if s.goal > 0 && was < s.goal/2 && s.done >= s.goal/2 {
		s.half = s.now()
	}
	if s.goal > 0 && was < s.goal && s.done >= s.goal {
		s.end = s.now()
		close(s.reached)
	}
}

// results is the message with the results of n items.
func (s *simulated) results(first uint64, n int, each time.Duration) []byte {
	items, values := make([]json.RawMessage, n), make([][]byte, n)
	ones, waits, runs := make([]uint32, n), make([]uint64, n), make([]uint64, n)
	for i := range n {
		items[i], values[i], ones[i], runs[i] = s.item, s.item[:1], 1, uint64(each)
	}
	body, err := proto.Marshal(&clusterpb.Result{
		First: first, Count: uint32(n), Digest: digest(items), Node: "node", TookNs: uint64(n) * uint64(each),
		Values: values, Workers: ones, Pids: ones, WaitNs: waits, RunNs: runs,
	})
	if err != nil {
		panic(err)
	}
	return body
}

// kill ends a node. Its batches go to others when their leases end, and the node is back after a while.
func (s *simulated) kill(m *machine, back time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m.dead {
		return
	}
	m.life++
	m.dead, m.since, s.entries = true, s.now(), nil
	s.idle = slices.DeleteFunc(s.idle, func(p *place) bool { return p.at == m })
	for _, slot := range m.places {
		p := slot.holds
		if p == nil {
			continue
		}
		slot.holds = nil
		beat := s.lease / 3
		s.after(slot.got+(s.now()-slot.got).Truncate(beat)+s.lease-s.now(), func() {
			if j := s.jobs[p.key.JobKey]; j.queued[p.key.First] == p {
				j.leader.waiting = slices.Insert(j.leader.waiting, 0, p)
				s.give()
			}
		})
	}
	s.after(back, func() {
		m.dead, s.entries = false, nil
		s.idle = append(s.idle, m.places...)
		s.give()
	})
}

// Lookup implements [engine.Sender].
func (s *simulated) Lookup(_ context.Context, key engine.Key) (engine.Result, error) {
	time.Sleep(s.trip)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lookups++
	j := s.job(key.JobKey)
	j.leader.free = max(j.leader.free, s.now()) + s.stored/2
	n := j.results[key.First]
	if n == 0 {
		return engine.Result{}, engine.ErrNotFound
	}
	return engine.Result{Key: key, Items: n, Body: s.results(key.First, n, s.runs)}, nil
}

// Stored implements [engine.Sender].
func (s *simulated) Stored(context.Context, engine.JobKey, func(engine.Result)) (uint64, error) {
	return 0, nil
}

// Follow implements [engine.Sender].
func (s *simulated) Follow(ctx context.Context, job engine.JobKey, _ uint64, each func(engine.Result)) error {
	s.mu.Lock()
	j := s.job(job)
	s.mu.Unlock()
	for {
		s.mu.Lock()
		reports := j.reports
		j.reports = nil
		s.mu.Unlock()
		for _, r := range reports {
			each(r)
		}
		select {
		case <-j.more:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// Nodes implements [engine.Registry]. A dead node is listed for ten seconds.
func (s *simulated) Nodes(context.Context) (map[string][]byte, error) {
	time.Sleep(s.trip)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.entries != nil {
		return s.entries, nil
	}
	entries, all := map[string][]byte{}, true
	for i, m := range s.nodes {
		if m.dead {
			if all = false; s.now()-m.since > 10*time.Second {
				continue
			}
		}
		name := fmt.Sprint("node", i)
		body, err := proto.Marshal(&clusterpb.Node{Name: name, Pool: "p", Slots: uint32(s.claim * float64(len(m.places)))})
		if err != nil {
			return nil, err
		}
		entries[name] = body
	}
	if all {
		s.entries = entries
	}
	return entries, nil
}

// LeaseTime implements [engine.Receiver].
func (s *simulated) LeaseTime() time.Duration { return s.lease }

// Remove implements [engine.Sender].
func (s *simulated) Remove(context.Context, string, engine.JobKey, bool) error { return nil }

// Discard implements [engine.Sender].
func (s *simulated) Discard(context.Context, engine.Key) error { return nil }

// PutJob implements [engine.Registry].
func (s *simulated) PutJob(context.Context, engine.JobKey, []byte, uint64) (uint64, error) {
	return 1, nil
}

// RemoveJob implements [engine.Registry].
func (s *simulated) RemoveJob(context.Context, engine.JobKey) error { return nil }

// Tell implements [engine.Registry].
func (s *simulated) Tell(engine.JobKey, string) error { return nil }

// Listen implements [engine.Registry].
func (s *simulated) Listen(string, func(engine.JobKey, string)) (func(), error) {
	return func() {}, nil
}
