package host

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/parhost/parhost/host/internal/worker"
	"github.com/parhost/parhost/internal/wire"
)

// task is a part of a block on its way through a worker. It is used by one lane, and by the worker that the lane hands it to.
type task[In, Out any] struct {
	run     *run[In, Out]
	block   *block[In, Out] // which has no other task; changed by peel
	index   int             // of the first item in the run
	from    int             // place in the block, whose last item is the task's too: 0, and negative once peel has cut off what was settled
	in      []In
	out     []Out
	solo    bool // needs a worker of its own, so that a crash names it
	bounced int  // workers that ended and had not begun it, by their own account
	depth   int  // batches that a worker may hold, this one among them

	trial   trial // what became of it so far
	begun   time.Time
	failed  map[int]*ItemError            // since the last settle, by place in the task
	bytes   int                           // of results, likewise; not of errors
	worker  atomic.Pointer[worker.Worker] // that has it; nil as long as none has
	granted int                           // bytes of results that may come beyond the credit; guarded by the run's mutex
	options worker.Options
}

// newTask makes a task of a block's items. Called with the run's mutex held.
func newTask[In, Out any](r *run[In, Out], b *block[In, Out]) *task[In, Out] {
	b.task = &task[In, Out]{run: r, block: b, index: b.first, in: b.in, out: b.out, trial: trial{size: len(b.in)}}
	return b.task
}

// shorten leaves a task its first n items.
func (t *task[In, Out]) shorten(n int) { t.in, t.out, t.trial.size = t.in[:n:n], t.out[:n:n], n }

var _ worker.Batch = (*task[int, int])(nil)

// The methods of [worker.Batch].
func (t *task[In, Out]) First() int               { return t.index }
func (t *task[In, Out]) Size() int                { return len(t.in) }
func (t *task[In, Out]) Done() int                { return t.trial.done }
func (t *task[In, Out]) Options() *worker.Options { return &t.options }

// context is what a workload on a goroutine sees of the run's context.
func (t *task[In, Out]) context() *bare { return &t.run.base }

func (t *task[In, Out]) Slices(apart bool) (in, out any, ok bool) {
	if !t.run.native {
		return nil, nil, false
	}
	from := t.trial.done
	if apart {
		return t.in[from:], make([]Out, len(t.in)-from), true
	}
	return t.in[from:], t.out[from:], true
}

func (t *task[In, Out]) Store(from, n int, out any, at int) {
	copy(t.out[from:][:n], out.([]Out)[at:])
}

// Results whose size is not known beforehand get room for so many bytes, or for twice those of the items.
const roomBytes = 2 << 20

func (t *task[In, Out]) EncodedSize(from, to, limit int) (items, results int) {
	in := t.in[from:to]
	n := len(in)
	if t.options.JSON && !t.run.in.Unchecked() { // the size of a text is known if it is one already
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
	case !t.options.JSON && t.run.out.Fixed():
		results = n * t.run.out.Width()
	case items >= wire.ArenaBytes:
		results = wire.ColumnBytes(n, max(roomBytes, 2*items))
	}
	return items, results
}

func (t *task[In, Out]) Encode(from, to, limit int, room []byte) (column []byte, n int, bad *wire.ItemError) {
	in := t.in[from:to]
	codec := &t.run.in
	if !t.options.JSON && codec.Fixed() {
		n = min(len(in), max(1, limit/8))
		return codec.AppendFixed(room[:0], in[:n]), n, nil
	}
	encode, aligned := codec.Append, codec.Aligned()
	if t.options.JSON {
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

func (t *task[In, Out]) Copies() bool { return !t.options.JSON && t.run.out.Fixed() }

func (t *task[In, Out]) Decode(from, n int, column []byte) error {
	out := t.out[from:][:n]
	codec := &t.run.out
	t.bytes += len(column)
	if !t.options.JSON && codec.Fixed() {
		return codec.ReadFixed(out, column)
	}
	decode, aligned := codec.Decode, codec.Aligned()
	if t.options.JSON {
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
			t.Fail(from+i, &wire.ItemError{
				Kind: wire.Oversize, Size: int64(len(text)),
				Message: fmt.Sprintf("result is %d bytes, the limit is %d (Config.MaxResultBytes)", len(text), most),
			})
			continue
		}
		if out[i], err = t.decode(decode, text); err == nil {
			continue
		}
		if (t.options.JSON || codec.Kind == wire.KindJSON) && mayBeText(text, err) { // it may well be the caller's type that is wrong
			t.Fail(from+i, &wire.ItemError{Kind: wire.Failed, Message: wire.Bound(fmt.Sprintf("result is no %T: %v", out[i], err), wire.MaxMessageText)})
			continue
		}
		return fmt.Errorf("result %d does not decode: %w", i, err)
	}
	return nil
}

// mayBeText reports whether a text that does not decode, because of err, is JSON by its grammar, as far as that was looked at.
func mayBeText(text []byte, err error) bool {
	e, ok := errors.AsType[*wire.TextError](err)
	return ok && e.Refused || wire.ValidText(text)
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

func (t *task[In, Out]) Fail(at int, e *wire.ItemError) {
	if t.failed == nil {
		t.failed = map[int]*ItemError{}
	}
	t.failed[at] = e
}

func (t *task[In, Out]) Complete(n int, by worker.Info, ran time.Duration, itemNS []uint64) {
	now := time.Now()
	s := span{from: t.from + t.trial.done, n: n, worker: by.Number, pid: by.PID, wait: t.begun.Sub(t.block.cut), run: ran, itemNS: itemNS, bytes: t.bytes}
	failed := t.failed
	if weigh := t.run.weighOut; weigh != nil && t.bytes == 0 { // Go's own values
		for _, v := range t.out[t.trial.done:][:n] {
			s.bytes += weigh(v)
		}
	}
	for _, e := range failed {
		s.bytes += wire.Weight(e)
	}
	first := t.index + t.trial.done
	t.trial.add(n, ran, itemNS)
	t.trial.bytes += s.bytes
	t.failed, t.bytes = nil, 0
	if n > 0 {
		t.run.record(t, s, failed)
		t.run.pool.cfg.observe(BatchDone{
			Worker: by.Number, PID: by.PID, First: first, Items: n, Wait: s.wait, Trip: now.Sub(t.begun), Run: ran,
		})
	}
}
