package host

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/parhost/parhost/internal/wire"
)

// block is consecutive items that were cut from the input together. It is the unit in which results are put in order; tasks are
// the parts of it that are on their way.
type block[In, Out any] struct {
	first int // index of the first item in the run
	in    []In
	out   []Out // as long as in
	cut   time.Time
	bytes int // of the items, and of the results so far, where they are known; guarded by the run's mutex

	// Guarded by the run's mutex.
	left   int // items without an outcome
	errs   map[int]*ItemError
	blamed map[int]int  // how often an item was begun in vain
	spared map[int]bool // items that were begun once more because somebody else may have ended their worker
	spans  []span       // who ran what
}

// spare gives an item an attempt that is not counted.
func (b *block[In, Out]) spare(at int) {
	if b.spared == nil {
		b.spared = map[int]bool{}
	}
	b.spared[at] = true
}

// extra is how many attempts of an item are not counted.
func (b *block[In, Out]) extra(at int) int {
	if b.spared[at] {
		return 1
	}
	return 0
}

// span is consecutive items of a block that one worker settled together.
type span struct {
	from, n     int
	worker, pid int
	bytes       int           // of the results, where they are known
	wait, run   time.Duration // run is that of all n
	mean        time.Duration // of one, once results are taken
	itemNS      []uint64      // nil: only the sum is known
}

// Result is what became of one item.
type Result[Out any] struct {
	Index    int // the item's place in its run, from 0
	Value    Out // the zero value if Err is set
	Err      *ItemError
	Worker   int // the worker's number; 0 if the item never reached one
	PID      int
	Attempts int           // how often the item was begun
	Wait     time.Duration // from being read to being sent to the worker
	Run      time.Duration // in the workload; the mean of its batch when items take less than some 10 µs
}

// results calls yield with the result of each item, in order.
func (b *block[In, Out]) results(yield func(Result[Out]) bool) bool {
	places := b.places()
	at := 0 // the span that item i is in, where spans lie in a row
	for i := range b.in {
		r := Result[Out]{Index: b.first + i, Attempts: 1}
		var s *span
		if places != nil {
			s = places[i]
		} else if at < len(b.spans) {
			if s = &b.spans[at]; i == s.from+s.n-1 {
				at++
			}
		}
		if s != nil {
			r.Worker, r.PID, r.Wait, r.Run = s.worker, s.pid, s.wait, s.mean
			if s.itemNS != nil {
				r.Run = min(time.Duration(min(s.itemNS[i-s.from], math.MaxInt64)), s.run) // a worker may say anything
			}
		}
		if b.blamed != nil {
			r.Attempts += b.blamed[i]
		}
		if b.errs != nil {
			r.Err = b.errs[i]
		}
		if r.Err != nil {
			r.Attempts = r.Err.Attempts
		} else {
			r.Value = b.out[i]
		}
		if !yield(r) {
			return false
		}
	}
	return true
}

// places returns the span of each item: nil if spans lie one behind the other from the first item on, as they do unless an item was
// begun several times or a part of the block went another way.
func (b *block[In, Out]) places() []*span {
	next := 0
	for i := range b.spans {
		s := &b.spans[i]
		s.mean = s.run / time.Duration(max(1, s.n))
		if next >= 0 && s.from == next && s.n > 0 {
			next += s.n
		} else {
			next = -1
		}
	}
	if next >= 0 {
		return nil
	}
	places := make([]*span, len(b.in)) // of spans that overlap the last one holds
	for i := range b.spans {
		s := &b.spans[i]
		for at := range s.n {
			places[s.from+at] = s
		}
	}
	return places
}

// task is a part of a block on its way through a worker. It is used by one lane, and by the worker that the lane hands it to.
type task[In, Out any] struct {
	run      *run[In, Out]
	block    *block[In, Out]
	from, to int  // places in the block
	solo     bool // needs a worker of its own, so that a crash names it
	bounced  int  // workers that ended in order and left it undone

	done   int // settled, from from on
	begun  time.Time
	failed map[int]*ItemError // since the last settle, by place in the task
	bytes  int                // of results, likewise
	how    orders
}

func (t *task[In, Out]) first() int     { return t.block.first + t.from }
func (t *task[In, Out]) size() int      { return t.to - t.from }
func (t *task[In, Out]) settled() int   { return t.done }
func (t *task[In, Out]) orders() orders { return t.how }

func (t *task[In, Out]) native(apart bool) (in, out any, ok bool) {
	if !t.run.native {
		return nil, nil, false
	}
	from, to := t.from+t.done, t.to
	if apart {
		return t.block.in[from:to], make([]Out, to-from), true
	}
	return t.block.in[from:to], t.block.out[from:to], true
}

func (t *task[In, Out]) keep(from, n int, out any, at int) {
	copy(t.block.out[t.from+from:][:n], out.([]Out)[at:])
}

// Results whose size is not known beforehand get room for so many bytes, or for twice those of the items.
const roomBytes = 2 << 20

func (t *task[In, Out]) needs(from, to, limit int) (items, results int) {
	in := t.block.in[t.from+from : t.from+to]
	n := len(in)
	if t.how.json && !t.run.in.Unchecked() { // the size of a text is known if it is one already
		return 0, 0
	}
	if t.run.in.Fixed() {
		n = min(n, max(1, limit/8))
		items = n * t.run.in.Width()
	} else {
		size := 0
		for n = 0; n < len(in) && size < limit; n++ {
			more, known := t.run.in.Measure(in[n : n+1])
			if !known {
				return 0, 0
			}
			size += more
		}
		items = wire.ColumnBytes(n, size)
	}
	switch {
	case !t.how.json && t.run.out.Fixed():
		results = n * t.run.out.Width()
	case items >= wire.ArenaBytes:
		results = wire.ColumnBytes(n, max(roomBytes, 2*items))
	}
	return items, results
}

func (t *task[In, Out]) pack(from, to, limit int, room []byte) (column []byte, n int, bad *wire.ItemError) {
	in := t.block.in[t.from+from : t.from+to]
	codec := &t.run.in
	if !t.how.json && codec.Fixed() {
		n = min(len(in), max(1, limit/8))
		return codec.AppendFixed(room[:0], in[:n]), n, nil
	}
	encode, aligned := codec.Append, codec.Aligned()
	if t.how.json {
		encode, aligned = codec.AppendJSON, false
	}
	var w wire.ColumnWriter
	w.ResetIn(aligned, room, len(in))
	for _, v := range in {
		var data []byte
		if data, bad = t.encode(encode, w.Begin(), v); bad != nil {
			break
		}
		w.End(data)
		if w.Size() >= limit {
			break
		}
	}
	if w.Len() > 0 {
		bad = nil // the next column begins with the bad item
	}
	return w.Bytes(), w.Len(), bad
}

// encode appends an item to dst, or says why it cannot be sent.
func (t *task[In, Out]) encode(encode func([]byte, In) ([]byte, error), dst []byte, v In) (data []byte, bad *wire.ItemError) {
	defer func() {
		if p := recover(); p != nil { // the caller's own MarshalJSON may panic, which must not end the host
			data, bad = nil, &wire.ItemError{Kind: wire.BadItem, Message: fmt.Sprintf("encoding it panicked: %v", p)}
		}
	}()
	most := t.run.pool.cfg.MaxItemBytes
	data, err := encode(dst, v)
	switch size := len(data) - len(dst); {
	case err != nil:
		bad := &wire.ItemError{Kind: wire.BadItem, Message: err.Error()}
		if text, ok := errors.AsType[*wire.TextError](err); ok {
			bad.Offset = text.Offset
		}
		return nil, bad
	case size > most:
		return nil, &wire.ItemError{
			Kind: wire.Oversize, Size: int64(size),
			Message: fmt.Sprintf("item is %d bytes, the limit is %d (Config.MaxItemBytes)", size, most),
		}
	}
	return data, nil
}

func (t *task[In, Out]) copies() bool { return !t.how.json && t.run.out.Fixed() }

func (t *task[In, Out]) unpack(from, n int, column []byte) error {
	out := t.block.out[t.from+from:][:n]
	codec := &t.run.out
	t.bytes += len(column)
	if !t.how.json && codec.Fixed() {
		return codec.ReadFixed(out, column)
	}
	decode, aligned := codec.Decode, codec.Aligned()
	if t.how.json {
		decode, aligned = codec.DecodeJSON, false
	}
	c, err := wire.OpenColumn(column, n, aligned)
	if err != nil {
		return err
	}
	most := t.run.pool.cfg.MaxResultBytes
	for i := range out {
		text := c.Next()
		if t.failed[from+i] != nil {
			continue
		}
		if len(text) > most {
			t.fail(from+i, &wire.ItemError{
				Kind: wire.Oversize, Size: int64(len(text)),
				Message: fmt.Sprintf("result is %d bytes, the limit is %d (Config.MaxResultBytes)", len(text), most),
			})
			continue
		}
		if out[i], err = t.decode(decode, text); err == nil {
			continue
		}
		if (t.how.json || codec.Kind == wire.KindJSON) && wire.ValidText(text) { // it may well be the caller's type that is wrong
			t.fail(from+i, &wire.ItemError{Kind: wire.Failed, Message: fmt.Sprintf("result is no %T: %v", out[i], err)})
			continue
		}
		return fmt.Errorf("result %d does not decode: %w", i, err)
	}
	return nil
}

// decode reads one result. The caller's own UnmarshalJSON may panic, which must not end the host.
func (t *task[In, Out]) decode(decode func([]byte) (Out, error), text []byte) (v Out, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("decoding it panicked: %v", p)
		}
	}()
	return decode(text)
}

func (t *task[In, Out]) fail(at int, e *wire.ItemError) {
	if t.failed == nil {
		t.failed = map[int]*ItemError{}
	}
	t.failed[at] = e
}

func (t *task[In, Out]) settle(n int, by WorkerInfo, ran time.Duration, itemNS []uint64) {
	now := time.Now()
	s := span{from: t.from + t.done, n: n, worker: by.Worker, pid: by.PID, wait: t.begun.Sub(t.block.cut), run: ran, itemNS: itemNS, bytes: t.bytes}
	failed := t.failed
	if weigh := t.run.weighOut; weigh != nil && t.bytes == 0 { // Go's own values
		for _, v := range t.block.out[s.from:][:n] {
			s.bytes += weigh(v)
		}
	}
	t.done += n
	t.failed, t.bytes = nil, 0
	if n > 0 {
		t.run.settle(t.block, s, failed, t.from)
		t.run.pool.cfg.Observer.Observe(BatchDone{
			Worker: by.Worker, PID: by.PID, First: t.block.first + s.from, Items: n, Wait: s.wait, Trip: now.Sub(t.begun), Run: ran,
		})
	}
}
