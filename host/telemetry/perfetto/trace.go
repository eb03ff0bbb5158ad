package perfetto

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/host/internal/lanes"
)

const (
	// writeBytes is how much is gathered before it is written, and writeEvery how long, so that a run that is killed leaves a trace.
	writeBytes = 64 << 10
	writeEvery = time.Second
	// maxBytes bounds what waits to be written, while as much again may be being written. If the disk is slower than the run, the trace loses events, and the run
	// does not wait.
	maxBytes = 32 << 20
	// leastItem is the shortest mean time of a batch's items at which each item gets a slice. At 10 µs an item, the slices made a run 14 % slower.
	leastItem = 100 * time.Microsecond
	// maxMarks bounds how many failed attempts are remembered until their batch is done. Further ones are shown beside their batch, and not in it.
	maxMarks = 10_000
)

// Trace writes the events of one pool. Make it with [New], and make it the pool's [host.Config.Observer]. Its methods may be called from any goroutine.
type Trace struct {
	begun time.Time
	out   io.Writer

	mu      sync.Mutex
	ready   sync.Cond // there is something to write, or no more will come
	buffer  []byte    // packets that have not been written
	due     time.Time // when they are written, however few they are
	err     error     // of the writer; nothing is written after it
	lost    int       // events that were left out
	closed  bool
	written chan struct{} // closed when nothing will be written any more

	workers map[int]*worker // by number
	failed  map[item]mark   // what happened to items of batches that are about to be done
	flows   map[item]flow   // the attempt that failed last, of items that are to be begun again
	flowIDs uint64          // so far
}

// worker is what a trace knows of one worker.
type worker struct {
	packed  lanes.Lanes
	threads int
	tracks  int           // tracks of batches that have been described
	pid     int           // whose CPU time cpu is
	cpu     time.Duration // when the process was last looked at
	looked  time.Time     // when that was
	counted bool          // its counters have been described
}

// item identifies an item: items of several runs have the same places.
type item struct{ input, place int }

// mark is an attempt that failed, and is part of a batch.
type mark struct {
	attempt host.Attempt
	flow    uint64 // that leads to the next attempt; 0 if there is none
}

// flow leads from a failed attempt to the next one.
type flow struct {
	id   uint64
	from time.Time
}

// New returns a trace that is written to w, of a pool that runs the workload with the given name. Its goroutine ends with Close.
func New(w io.Writer, name string) *Trace {
	t := &Trace{
		begun: time.Now(), out: w, written: make(chan struct{}), workers: map[int]*worker{}, failed: map[item]mark{}, flows: map[item]flow{},
	}
	t.ready.L, t.due = &t.mu, t.begun.Add(writeEvery)
	t.describe(poolTrack, 0, 0, name, true)
	t.count(queuedTrack, poolTrack, 1, "items read ahead", "items", 0)
	t.count(heldTrack, poolTrack, 2, "items in batches, or waiting to be taken", "items", 0)
	go t.write()
	return t
}

// Numbers of tracks. A worker's tracks have its number in the upper bits.
const (
	poolTrack = iota + 1
	queuedTrack
	heldTrack

	workerTrack = 1
	memoryTrack = 2
	cpuTrack    = 3
	batchTrack  = 4 // of the first batch that runs at once; the others follow
	workerShift = 20
)

func trackOf(worker, kind int) uint64 { return uint64(worker)<<workerShift + uint64(kind) }

// Observe implements [host.Observer].
func (t *Trace) Observe(event host.Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err != nil || t.closed {
		return
	}
	if len(t.buffer) > maxBytes {
		t.lose(event)
		return
	}
	switch e := event.(type) {
	case host.WorkerStarted:
		t.started(&e)
	case host.WorkerEnded:
		t.ended(&e)
	case host.BatchDone:
		t.batchDone(&e)
	case host.ItemFailed:
		t.attempt(e.At, &e.Attempt, 0, e.Late)
	case host.ItemRetried:
		t.flowIDs++
		t.attempt(e.At, &e.Attempt, t.flowIDs, false)
		if len(t.flows) < maxMarks {
			t.flows[item{e.Input, e.Place}] = flow{t.flowIDs, e.At}
		}
	case host.Sampled:
		t.sampled(&e)
	}
	if t.isFull() {
		t.ready.Signal()
	}
}

// lose leaves out an event. The marks of a batch that is left out would stay for ever.
func (t *Trace) lose(event host.Event) {
	t.lost++
	if e, ok := event.(host.BatchDone); ok && len(t.failed) > 0 {
		for i := range e.Items {
			delete(t.failed, item{e.Input, e.Place(i)})
		}
	}
}

func (t *Trace) started(e *host.WorkerStarted) {
	w := t.worker(e.Worker)
	w.threads = max(1, e.Threads)
	var m message
	m.annotateNumber("pid", e.PID)
	m.annotate("took", e.Took.String())
	name := "ready"
	if e.Replace {
		name = "ready, in place of another"
	}
	t.event(instant, trackOf(e.Worker, workerTrack), e.At, name, m)
}

func (t *Trace) ended(e *host.WorkerEnded) {
	t.worker(e.Worker)
	var m message
	m.annotateNumber("pid", e.PID)
	m.annotateNumber("items", e.Items)
	m.annotate("reason", valid(e.Reason))
	name := "ended"
	if e.Cause != "" {
		name = "died: " + string(e.Cause)
	}
	t.event(instant, trackOf(e.Worker, workerTrack), e.At, name, m)
}

// worker returns a worker, and describes its tracks if it is new.
func (t *Trace) worker(number int) *worker {
	w := t.workers[number]
	if w == nil {
		w = &worker{threads: 1}
		t.workers[number] = w
		t.describe(trackOf(number, workerTrack), poolTrack, number+2, fmt.Sprint("worker ", number), true)
	}
	return w
}

// place finds the track of a batch, and describes it if it is new.
func (t *Trace) place(number int, begun, ended time.Time) (track uint64, from time.Time) {
	w := t.worker(number)
	lane, from := w.packed.Place(begun, ended, w.threads)
	for ; w.tracks <= lane; w.tracks++ {
		name := "batches"
		if w.tracks > 0 {
			name = fmt.Sprint("batches at the same time ", w.tracks+1)
		}
		t.describe(trackOf(number, batchTrack+w.tracks), trackOf(number, workerTrack), w.tracks+1, name, false)
	}
	return trackOf(number, batchTrack+lane), from
}

func (t *Trace) batchDone(e *host.BatchDone) {
	if e.Worker == 0 { // the items never reached one
		return
	}
	run := min(e.Run, e.Trip)
	track, begun := t.place(e.Worker, e.At.Add(-run), e.At)
	var m message
	m.annotateNumber("items", e.Items)
	m.annotateNumber("failed", e.Failed)
	m.annotate("waited", e.Wait.String())
	m.annotate("sent and returned in", e.Trip.String())
	all := e.Timed() && e.Items > 1 && run >= time.Duration(e.Items)*leastItem // each item gets a slice, and not only those that failed
	for i := range t.marked(e) {
		it := item{e.Input, e.Place(i)}
		if _, failed := t.failed[it]; !all && !failed {
			t.link(&m, it, begun)
		}
	}
	name := fmt.Sprintf("items %d to %d", e.Place(0), e.Place(e.Items-1))
	if e.Items == 1 {
		name = fmt.Sprint("item ", e.Place(0))
	}
	t.event(sliceBegin, track, begun, name, m)
	if all || e.Failed > 0 {
		at := begun
		for i := range e.Items {
			took := min(e.Time(i), e.At.Sub(at))
			it := item{e.Input, e.Place(i)}
			if mark, failed := t.failed[it]; failed || all {
				t.item(track, it, at, at.Add(took), mark, failed)
			}
			at = at.Add(took)
		}
	}
	t.event(sliceEnd, track, e.At, "", nil)
}

// marked yields the items of a batch to which an arrow leads.
func (t *Trace) marked(e *host.BatchDone) func(yield func(int) bool) {
	return func(yield func(int) bool) {
		for i := range e.Items {
			if len(t.flows) == 0 {
				return
			}
			if _, ok := t.flows[item{e.Input, e.Place(i)}]; ok && !yield(i) {
				return
			}
		}
	}
}

// item writes the slice of one item.
func (t *Trace) item(track uint64, it item, begun, ended time.Time, failed mark, hasFailed bool) {
	var m message
	name := fmt.Sprint("item ", it.place)
	t.link(&m, it, begun)
	if hasFailed {
		delete(t.failed, it)
		name += explain(&m, &failed.attempt, failed.flow)
	}
	t.event(sliceBegin, track, begun, name, m)
	t.event(sliceEnd, track, ended, "", nil)
}

// explain adds to an event why an attempt failed. It returns what to add to the event's name.
func explain(m *message, a *host.Attempt, flow uint64) string {
	m.text(eventCategory, "failed")
	m.annotate("kind", string(a.Err.Kind))
	m.annotate("error", valid(a.Err.Message))
	m.annotateNumber("attempt", a.Err.Attempts)
	if flow > 0 {
		m.fixed(eventFlow, flow)
	}
	return ": " + string(a.Err.Kind)
}

// link ends the arrow that leads to an attempt at an item, if there is one.
func (t *Trace) link(m *message, it item, begun time.Time) {
	if f, ok := t.flows[it]; ok && !begun.Before(f.from) {
		m.fixed(eventEndsFlow, f.id)
		delete(t.flows, it)
	}
}

// attempt writes an attempt that failed. If it is part of a batch, its slice is written with the batch, which is done right afterwards. late says that the batch
// was done before.
func (t *Trace) attempt(at time.Time, a *host.Attempt, flow uint64, late bool) {
	switch {
	case a.Worker == 0 || late:
		var m message
		name := fmt.Sprint("item ", a.Place) + explain(&m, a, flow)
		t.event(instant, poolTrack, at, name, m)
	case !a.Blamed && len(t.failed) < maxMarks:
		t.failed[item{a.Input, a.Place}] = mark{*a, flow}
	default:
		begun := at.Add(-a.Took)
		track, begun := t.place(a.Worker, begun, at)
		t.item(track, item{a.Input, a.Place}, begun, at, mark{*a, flow}, true)
	}
}

func (t *Trace) sampled(e *host.Sampled) {
	t.value(queuedTrack, e.At, float64(e.State.Queued))
	t.value(heldTrack, e.At, float64(e.State.Held))
	for i := range e.State.Workers {
		info := &e.State.Workers[i]
		w := t.worker(info.Worker)
		w.threads = max(1, info.Threads)
		if info.RSS == 0 || !e.State.Looked.After(w.looked) {
			continue
		}
		memory, cpu := trackOf(info.Worker, memoryTrack), trackOf(info.Worker, cpuTrack)
		if !w.counted {
			w.counted = true
			t.count(memory, trackOf(info.Worker, workerTrack), 1<<19, "memory", "", unitBytes)
			t.count(cpu, trackOf(info.Worker, workerTrack), 1<<19+1, "CPU", "CPUs", 0)
		}
		t.value(memory, e.At, float64(info.RSS))
		if info.PID == w.pid {
			t.value(cpu, e.At, max(0, float64(info.CPU-w.cpu)/float64(e.State.Looked.Sub(w.looked))))
		}
		w.pid, w.cpu, w.looked = info.PID, info.CPU, e.State.Looked
	}
}

// event adds an event of a track. m has more fields of it.
func (t *Trace) event(kind, track uint64, at time.Time, name string, m message) {
	m.number(eventType, kind)
	m.number(eventTrack, track)
	if name != "" {
		m.text(eventName, name)
	}
	t.packet(at, packetTrackEvent, m)
}

// value adds a value of a counter.
func (t *Trace) value(track uint64, at time.Time, x float64) {
	var m message
	m.real(eventDouble, x)
	t.event(counter, track, at, "", m)
}

// describe adds a track. ordered says that its children are shown by their rank.
func (t *Trace) describe(track, parent uint64, rank int, name string, ordered bool) {
	var m message
	m.number(descriptorUUID, track)
	m.text(descriptorName, valid(name))
	if parent > 0 {
		m.number(descriptorParent, parent)
	}
	m.number(descriptorRank, uint64(rank))
	if ordered {
		m.number(descriptorOrdering, explicit)
	}
	t.packet(t.begun, packetTrackDescriptor, m)
}

// count adds a track of numbers. unit is a word, or unitCode one of Perfetto's.
func (t *Trace) count(track, parent uint64, rank int, name, unit string, unitCode uint64) {
	var m, c message
	if unit != "" {
		c.text(counterUnitName, unit)
	}
	if unitCode > 0 {
		c.number(counterUnit, unitCode)
	}
	m.number(descriptorUUID, track)
	m.text(descriptorName, name)
	m.number(descriptorParent, parent)
	m.number(descriptorRank, uint64(rank))
	m.nested(descriptorCounter, c)
	t.packet(t.begun, packetTrackDescriptor, m)
}

// packet adds a packet to what is to be written. Times are those of the wall clock when the trace began, and pass as the monotonic clock does.
func (t *Trace) packet(at time.Time, field protowire.Number, content message) {
	var m message
	m.number(packetTimestamp, uint64(t.begun.UnixNano()+max(0, at.Sub(t.begun)).Nanoseconds()))
	m.number(packetSequenceID, 1)
	if t.buffer == nil {
		m.number(packetSequenceFlags, stateCleared)
	}
	m.nested(field, content)
	packets := message(t.buffer)
	packets.nested(tracePacket, m)
	t.buffer = packets
}

// write writes what is there, again and again, until Close.
func (t *Trace) write() {
	defer close(t.written)
	t.mu.Lock()
	defer t.mu.Unlock()
	for {
		for !t.isFull() && !t.closed {
			t.ready.Wait()
		}
		if len(t.buffer) == 0 && t.closed {
			return
		}
		full := t.buffer
		t.buffer, t.due = make([]byte, 0, 2*writeBytes), time.Now().Add(writeEvery)
		t.mu.Unlock()
		_, err := t.out.Write(full)
		t.mu.Lock()
		if err != nil {
			t.err, t.buffer = err, nil
			return
		}
	}
}

// isFull reports whether it is time to write. Called with mu held.
func (t *Trace) isFull() bool {
	return len(t.buffer) >= writeBytes || len(t.buffer) > 0 && time.Now().After(t.due)
}

// Close writes the rest. It returns the first error of writing, after which nothing was written. lost is the number of events that were left out, because the
// writer was too slow. It does not close the writer.
func (t *Trace) Close() (lost int, err error) {
	t.mu.Lock()
	t.closed = true
	t.ready.Signal()
	t.mu.Unlock()
	<-t.written
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.lost, t.err
}

// valid returns text that a protocol buffer may hold: what plugins say need not be UTF-8.
func valid(text string) string { return strings.ToValidUTF8(text, "\uFFFD") }
