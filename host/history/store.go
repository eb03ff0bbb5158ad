package history

import (
	"maps"
	"sync"
	"time"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/host/internal/lanes"
)

// Store keeps what happened in one pool. Make it with [New], and make it the pool's [host.Config.Observer]. All methods may be called from any goroutine.
type Store struct {
	mu       sync.Mutex
	begun    time.Time
	last     time.Duration // when the last event happened
	totals   Totals
	timeline timeline
	workers  map[int]*worker // by number, from their first event on
	alive    map[identity]*process
	gone     map[identity]bool // ended since the last sample; the next one may still show them
	waits    waits
	failures failures
	slowest  slowest
	spans    spans
	run      Histogram
	wait     Histogram
	sizes    Histogram
	lives    lives
	state    host.State                      // of the last sample
	progress map[int]float64                 // of the items that run and say so, by worker
	failed   host.ItemFailed                 // the last one; Err is nil if there is none
	refine   func(host.Waiting) host.Waiting // nil if nobody knows better
}

// New returns a store of a run that begins now.
func New() *Store { return NewAt(time.Now()) }

// NewAt returns a store of a run that began at a time, to be given the events of what is past.
func NewAt(begun time.Time) *Store {
	return &Store{
		begun: begun, workers: map[int]*worker{}, alive: map[identity]*process{}, gone: map[identity]bool{}, progress: map[int]float64{},
		totals:   Totals{Kinds: map[host.Kind]int{}, Causes: map[host.Cause]int{}, Deaths: map[host.Cause]int{}},
		timeline: newTimeline(begun), waits: waits{since: begun}, spans: spans{least: firstWidth},
	}
}

// Totals are the numbers of a run.
type Totals struct {
	OK      int `json:"ok"`
	Failed  int `json:"failed"`
	Retried int `json:"retried"` // attempts after which an item was begun again
	Resumed int `json:"resumed"` // items whose result was known before: they are not part of OK and Failed

	Batches  int           `json:"batches"`
	Run      time.Duration `json:"run_ns"`      // in the workload, all workers together
	Dispatch time.Duration `json:"dispatch_ns"` // that batches took beyond it, all workers together, without the time behind another batch

	Starts   int                `json:"starts"`   // workers that became ready, replacements included
	Replaced int                `json:"replaced"` // of them, workers that took the place of another one
	Deaths   map[host.Cause]int `json:"deaths"`   // workers whose process died, by cause
	Kinds    map[host.Kind]int  `json:"kinds"`    // failed items
	Causes   map[host.Cause]int `json:"causes"`   // failed items whose process died, by cause
	Traffic  host.Traffic       `json:"traffic"`
}

// Done returns the number of items that have an outcome.
func (t *Totals) Done() int { return t.OK + t.Failed + t.Resumed }

// worker is what a store knows of one worker.
type worker struct {
	number  int
	threads int
	packed  lanes.Lanes
	lanes   []*lane   // one for each item that it has run at once so far
	done    time.Time // when its last batch was done
}

// identity tells apart the processes of a worker and of its replacement, which may live at the same time. All goroutine workers have the same pid.
type identity struct{ worker, pid int }

// process is what a store knows of a worker's process.
type process struct {
	traffic host.Traffic  // at the last sample
	cpu     time.Duration // when it was last looked at
	looked  time.Time     // when that was
	load    float64       // CPUs that it used between the last two looks
}

// worker returns a worker by its number.
func (s *Store) worker(number int) *worker {
	w := s.workers[number]
	if w == nil {
		w = &worker{number: number, threads: 1}
		s.workers[number] = w
	}
	return w
}

// Observe implements [host.Observer].
func (s *Store) Observe(event host.Event) {
	if e, ok := event.(host.Sampled); ok {
		event = s.refined(e)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = max(s.last, event.When().Sub(s.begun))
	switch e := event.(type) {
	case host.WorkerStarted:
		s.started(&e)
	case host.WorkerEnded:
		s.ended(&e)
	case host.BatchDone:
		s.batchDone(&e)
	case host.ItemFailed:
		s.itemFailed(&e)
	case host.ItemRetried:
		s.totals.Retried++
		s.attempt(e.At, &e.Attempt, true)
	case host.ItemProgress:
		if e.Fraction >= 0 { // a goroutine may say NaN
			s.progress[e.Worker] = min(1, e.Fraction)
		}
	case host.Sampled:
		s.sampled(&e)
	}
}

func (s *Store) started(e *host.WorkerStarted) {
	s.totals.Starts++
	if e.Replace {
		s.totals.Replaced++
	}
	s.worker(e.Worker).threads = max(1, e.Threads)
	s.lives.add(Life{At: e.At, Worker: e.Worker, PID: e.PID, Took: e.Took, Replace: e.Replace})
}

func (s *Store) ended(e *host.WorkerEnded) {
	w := s.worker(e.Worker)
	delete(s.progress, e.Worker)
	if e.Cause != "" {
		s.totals.Deaths[e.Cause]++
	}
	s.lives.add(Life{At: e.At, Worker: e.Worker, PID: e.PID, End: true, Items: e.Items, Reason: e.Reason, Cause: e.Cause})
	id := identity{e.Worker, e.PID}
	s.carry(w, s.process(id), e.At, e.Traffic)
	delete(s.alive, id)
	if len(s.gone) == maxLives { // nobody takes samples
		clear(s.gone)
	}
	s.gone[id] = true
}

// process returns a worker's process.
func (s *Store) process(id identity) *process {
	p := s.alive[id]
	if p == nil {
		p = new(process)
		s.alive[id] = p
	}
	return p
}

// carry adds the bytes that a process has sent and received since this was last called for it.
func (s *Store) carry(w *worker, p *process, at time.Time, now host.Traffic) {
	more := host.Traffic{Messages: now.Messages - p.traffic.Messages, Arena: now.Arena - p.traffic.Arena, Buffers: now.Buffers - p.traffic.Buffers}
	p.traffic = now
	s.totals.Traffic.Messages += more.Messages
	s.totals.Traffic.Arena += more.Arena
	s.totals.Traffic.Buffers += more.Buffers
	if bytes := more.Messages + more.Arena + more.Buffers; bytes > 0 {
		s.timeline.at(s.lane(w, 0), at).Bytes += bytes
	}
}

func (s *Store) batchDone(e *host.BatchDone) {
	s.totals.OK += e.Items - e.Failed
	s.wait.add(e.Wait, e.Items)
	delete(s.progress, e.Worker)
	if e.Worker == 0 { // the items never reached one
		return
	}
	run := min(e.Run, e.Trip)
	w := s.worker(e.Worker)
	s.totals.Batches++
	s.sizes.add(time.Duration(e.Items), 1)
	s.totals.Run += run
	sent := e.At.Add(-e.Trip)
	if w.done.After(sent) { // the batch waited in the worker behind another one
		sent = w.done
	}
	w.done = e.At
	s.totals.Dispatch += max(0, e.At.Sub(sent)-run)

	lane, begun := s.occupy(w, e.At.Add(-run), e.At)
	s.timeline.at(lane, e.At).count(e.Items, 0)
	if !e.Timed() && e.Items != 1 {
		s.run.add(e.Time(0), e.Items)
		s.slowest.offer(Item{Place: e.Place(0), Worker: e.Worker, Begun: begun, Took: e.Time(0), Item: e.LongestItem})
		return
	}
	if width := s.timeline.width; width > s.spans.least {
		s.spans.widen(width)
	}
	at := begun
	for i := range e.Items {
		took := e.Time(i)
		s.run.add(took, 1)
		if took >= s.spans.least || s.slowest.takes(took) {
			s.long(e, i, lane.thread, at, took)
		}
		at = at.Add(min(took, e.At.Sub(at)))
	}
}

// long keeps an item that took long.
func (s *Store) long(e *host.BatchDone, i, thread int, begun time.Time, took time.Duration) {
	text := ""
	if i == e.Longest {
		text = e.LongestItem
	}
	s.slowest.offer(Item{Place: e.Place(i), Worker: e.Worker, Begun: begun, Took: took, Item: text})
	s.spans.add(&Span{Place: e.Place(i), Worker: e.Worker, Thread: thread, Begun: begun.Sub(s.begun), Took: took, Item: text})
}

func (s *Store) itemFailed(e *host.ItemFailed) {
	s.totals.Failed++
	if e.Late {
		s.totals.OK--
	}
	s.totals.Kinds[e.Err.Kind]++
	if e.Err.Cause != "" {
		s.totals.Causes[e.Err.Cause]++
	}
	s.failures.add(e)
	s.failed = *e
	if lane := s.attempt(e.At, &e.Attempt, false); lane != nil {
		s.timeline.at(lane, e.At).count(0, 1)
	}
}

// attempt keeps a failed attempt, and adds its time to the timeline, unless a BatchDone will add it. It returns the lane of the attempt, or nil if the item
// never reached a worker.
func (s *Store) attempt(at time.Time, a *host.Attempt, again bool) *lane {
	if a.Worker == 0 {
		s.failedAttempt(at, a, 0, again)
		return nil
	}
	w := s.worker(a.Worker)
	if !a.Blamed {
		s.failedAttempt(at, a, 0, again)
		return s.lane(w, 0)
	}
	lane, begun := s.occupy(w, at.Add(-a.Took), at)
	s.failedAttempt(at, a, lane.thread, again)
	s.totals.Run += a.Took
	if a.Took > 0 {
		s.slowest.offer(Item{Place: a.Place, Worker: a.Worker, Begun: begun, Took: a.Took, Item: a.Item})
	}
	return lane
}

func (s *Store) sampled(e *host.Sampled) {
	s.state = e.State
	now := s.waits.add(e)
	s.timeline.pool(e, now)
	for i := range e.State.Workers {
		info := &e.State.Workers[i]
		id := identity{info.Worker, info.PID}
		if s.gone[id] {
			continue
		}
		w, p := s.worker(info.Worker), s.process(id)
		w.threads = max(1, info.Threads)
		s.carry(w, p, e.At, info.Traffic)
		if info.RSS == 0 || !e.State.Looked.After(p.looked) {
			continue
		}
		bin := s.timeline.at(s.lane(w, 0), e.At)
		bin.RSS = max(bin.RSS, info.RSS)
		if used := max(0, info.CPU-p.cpu); !p.looked.IsZero() {
			p.load = float64(used) / float64(e.State.Looked.Sub(p.looked))
			bin.CPU += used
		}
		p.cpu, p.looked = info.CPU, e.State.Looked
	}
	clear(s.gone)
}

// Worker is a worker that is ready, as of the last sample.
type Worker struct {
	host.WorkerInfo
	Load float64 // how many CPUs its process kept busy, when the sampler last read that; 0 if unknown
}

// Workers returns the workers that the last sample showed as ready, sorted by number. Standby workers are left out.
func (s *Store) Workers() []Worker {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []Worker
	for _, info := range s.state.Workers {
		if !info.Standby {
			w := Worker{WorkerInfo: info}
			if p := s.alive[identity{info.Worker, info.PID}]; p != nil { // it may have ended since the sample
				w.Load = p.load
			}
			list = append(list, w)
		}
	}
	return list
}

// LastFailure returns the item that failed last; ok is false if none has failed.
func (s *Store) LastFailure() (e host.ItemFailed, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed, s.failed.Err != nil
}

// Resumed sets how many items have got their results from a journal so far, and so did not run.
func (s *Store) Resumed(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.totals.Resumed = n
}

// End says that the run has ended: [Store.State] is empty from then on.
func (s *Store) End() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state = host.State{}
}

// Totals returns the numbers so far.
func (s *Store) Totals() Totals {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.totals
	t.Deaths, t.Kinds, t.Causes = maps.Clone(t.Deaths), maps.Clone(t.Kinds), maps.Clone(t.Causes)
	return t
}

// Begun returns when the store was made.
func (s *Store) Begun() time.Time { return s.begun }

// Last returns when the last event happened, since the store was made.
func (s *Store) Last() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last
}

// State returns the last sample of the pool: the zero value before the first one. State.Waiting.For may also be one of the constants of this package.
func (s *Store) State() host.State {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state
}

// Progress returns what the items that run say of themselves, from 0 to 1, by the number of their worker.
func (s *Store) Progress() map[int]float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.progress)
}
