package host

import (
	"bytes"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/parhost/parhost/host/internal/worker"
	"github.com/parhost/parhost/internal/bound"
	"github.com/parhost/parhost/internal/wire"
	"github.com/parhost/parhost/protocol"
)

// batch is the items at the end of a chunk, on their way to one worker. It is used by one lane, and by the worker that the lane hands it to.
type batch[In, Out any] struct {
	run     *run[In, Out]
	chunk   *chunk[In, Out] // has no other batch; changed by peel
	index   int             // of the first item in the run
	from    int             // where the batch begins in the chunk: 0, or negative once peel has split off items that have their outcome
	in      []In
	out     []Out
	texts   [][]byte // results that have not been decoded, in the array of the chunk; nil if results are decoded as they come
	column  []byte   // the items, encoded; nil if the worker encodes them
	solo    bool     // needs a worker of its own, so that a crash names it
	returns int      // workers that ended and said that they had not begun it
	depth   int      // batches that a worker may hold, this one included

	trial   trial // the outcomes so far
	begun   time.Time
	latest  time.Time                     // of the last Complete; zero before; guarded by the run's mutex
	failed  map[int]*ItemError            // errors since the last Complete, by place in the batch
	bytes   int                           // of results since the last Complete; errors are not counted
	worker  atomic.Pointer[worker.Worker] // runs the batch; nil before one does
	granted int                           // bytes of results that may come beyond the credit; guarded by the run's mutex
	options worker.Options
}

// newBatch makes a batch of all items of a chunk. Called with the run's mutex held.
func newBatch[In, Out any](r *run[In, Out], c *chunk[In, Out]) *batch[In, Out] {
	c.batch = &batch[In, Out]{run: r, chunk: c, index: c.first, in: c.in, out: c.out, texts: c.texts, trial: trial{size: len(c.in)}}
	return c.batch
}

// shorten cuts a batch down to its first n items.
func (b *batch[In, Out]) shorten(n int) {
	b.in, b.out, b.trial.size = b.in[:n:n], b.out[:n:n], n
	if b.texts != nil {
		b.texts = b.texts[:n:n]
	}
}

var _ worker.Batch = (*batch[int, int])(nil)

// The methods of [worker.Batch].
func (b *batch[In, Out]) First() int               { return b.index }
func (b *batch[In, Out]) Size() int                { return len(b.in) }
func (b *batch[In, Out]) Done() int                { return b.trial.done }
func (b *batch[In, Out]) Options() *worker.Options { return &b.options }

// context is what a workload on a goroutine sees of the run's context.
func (b *batch[In, Out]) context() *bare { return &b.run.base }

func (b *batch[In, Out]) Slices(apart bool) (in, out any, ok bool) {
	if !b.run.native {
		return nil, nil, false
	}
	from := b.trial.done
	if apart {
		return b.in[from:], make([]Out, len(b.in)-from), true
	}
	return b.in[from:], b.out[from:], true
}

func (b *batch[In, Out]) Store(from, n int, out any, at int) {
	copy(b.out[from:][:n], out.([]Out)[at:])
}

// roomBytes is the least room for results whose size is not known beforehand. They get twice the bytes of the items if that is more.
const roomBytes = 2 << 20

func (b *batch[In, Out]) EncodedSize(from, to, limit int) (items, results int) {
	in := b.in[from:to]
	n := len(in)
	if b.options.JSON && !b.run.in.Unchecked() { // the size of a text is known if it is one already
		return 0, 0
	}
	if b.run.in.Fixed() {
		n = min(n, max(1, limit/8))
		items = n * b.run.in.Width()
	} else {
		size := 0
		for n = 0; n < len(in) && size < limit; n++ {
			more, known := b.run.in.Measure(in[n : n+1])
			if !known {
				return 0, 0
			}
			size += more
		}
		items = wire.ColumnBytes(n, size)
	}
	switch {
	case !b.options.JSON && b.run.out.Fixed():
		results = n * b.run.out.Width()
	case items >= wire.ArenaBytes:
		results = wire.ColumnBytes(n, max(roomBytes, 2*items))
	}
	return items, results
}

func (b *batch[In, Out]) Encode(from, to, limit int, room []byte) (column []byte, n int, bad *protocol.ItemError) {
	if column = b.column; column != nil { // of all items
		b.column = nil
		return column, b.Size(), nil
	}
	in := b.in[from:to]
	codec := b.run.in
	if !b.options.JSON && codec.Fixed() {
		n = min(len(in), max(1, limit/8))
		return codec.AppendFixed(room[:0], in[:n]), n, nil
	}
	encode, aligned := codec.Append, codec.Aligned()
	if b.options.JSON {
		encode, aligned = codec.AppendJSON, false
	}
	var w wire.ColumnWriter
	w.ResetIn(aligned, room, len(in))
	for _, v := range in {
		var data []byte
		if data, bad = b.encode(encode, w.Begin(), v); bad != nil {
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
func (b *batch[In, Out]) encode(encode func([]byte, In) ([]byte, error), dst []byte, v In) (data []byte, bad *protocol.ItemError) {
	defer func() {
		if p := recover(); p != nil { // the caller's own MarshalJSON may panic, which must not end the host
			data, bad = nil, &protocol.ItemError{Kind: protocol.KindBadItem, Message: fmt.Sprintf("encoding it panicked: %v", p)}
		}
	}()
	most := b.run.pool.cfg.MaxItemBytes
	data, err := encode(dst, v)
	switch size := len(data) - len(dst); {
	case err != nil:
		bad := &protocol.ItemError{Kind: protocol.KindBadItem, Message: err.Error()}
		if text, ok := errors.AsType[*wire.TextError](err); ok {
			bad.Offset = text.Offset
		}
		return nil, bad
	case size > most:
		return nil, &protocol.ItemError{
			Kind: protocol.KindOversize, Size: int64(size),
			Message: fmt.Sprintf("item is %d bytes, the limit is %d (Config.MaxItemBytes)", size, most),
		}
	}
	return data, nil
}

func (b *batch[In, Out]) Copies() bool { return !b.options.JSON && b.run.out.Fixed() }

func (b *batch[In, Out]) Decode(from, n int, column []byte) error {
	out := b.out[from:][:n]
	codec := b.run.out
	b.bytes += len(column)
	if !b.options.JSON && codec.Fixed() {
		return codec.ReadFixed(out, column)
	}
	decode, aligned := codec.Decode, codec.Aligned()
	if b.options.JSON {
		decode, aligned = codec.DecodeJSON, false
	}
	if b.texts != nil {
		column = bytes.Clone(column) // the worker's memory is used again
	}
	c, err := wire.OpenColumn(column, n, aligned)
	if err != nil {
		return err
	}
	most := b.run.pool.cfg.MaxResultBytes
	for i := range out {
		text := c.Next()
		if b.failed[from+i] != nil {
			continue
		}
		if len(text) > most {
			b.Fail(from+i, &protocol.ItemError{
				Kind: protocol.KindOversize, Size: int64(len(text)),
				Message: fmt.Sprintf("result is %d bytes, the limit is %d (Config.MaxResultBytes)", len(text), most),
			})
			continue
		}
		if b.texts != nil {
			if err = wire.CheckText(text); err == nil || mayBeText(text, err) {
				b.texts[from+i] = text
				continue
			}
			return fmt.Errorf("result %d does not decode: %w", i, err)
		}
		if out[i], err = safely(decode, text); err == nil {
			continue
		}
		if (b.options.JSON || codec.Kind == wire.KindJSON) && mayBeText(text, err) { // it may well be the caller's type that is wrong
			b.Fail(from+i, notOfType(out[i], err))
			continue
		}
		return fmt.Errorf("result %d does not decode: %w", i, err)
	}
	return nil
}

// mayBeText reports whether a text that did not decode, because of err, may be valid JSON nevertheless.
func mayBeText(text []byte, err error) bool {
	e, ok := errors.AsType[*wire.TextError](err)
	return ok && e.Refused || wire.ValidText(text)
}

// notOfType is the error of an item whose result does not fit the caller's type.
func notOfType(v any, err error) *ItemError {
	return &ItemError{Kind: KindFailed, Message: bound.Text(fmt.Sprintf("result is no %T: %v", v, err), wire.MaxMessageText)}
}

// safely decodes one result. The caller's own UnmarshalJSON may panic, which must not end the host.
func safely[Out any](decode func([]byte) (Out, error), text []byte) (v Out, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("decoding it panicked: %v", p)
		}
	}()
	return decode(text)
}

func (b *batch[In, Out]) Fail(at int, e *protocol.ItemError) {
	if b.failed == nil {
		b.failed = map[int]*ItemError{}
	}
	b.failed[at] = e
}

func (b *batch[In, Out]) Complete(n int, by worker.Info, ran time.Duration, itemNS []uint64, usage []Usage) {
	now := time.Now()
	s := span{from: b.from + b.trial.done, n: n, worker: by.Number, pid: by.PID, wait: b.begun.Sub(b.chunk.cut), run: ran, itemNS: itemNS, usage: usage, bytes: b.bytes}
	failed := b.failed
	if weigh := b.run.weighOut; weigh != nil && b.bytes == 0 { // Go's own values
		for _, v := range b.out[b.trial.done:][:n] {
			s.bytes += weigh(v)
		}
	}
	for _, e := range failed {
		s.bytes += wire.Weight(e)
	}
	at := b.trial.done
	var places []uint64
	if b.options.SeedIndex != nil {
		places = b.options.SeedIndex[at:][:n]
	}
	b.trial.add(n, ran, itemNS)
	b.trial.bytes += s.bytes
	b.failed, b.bytes = nil, 0
	longest, text := longestOf(itemNS), ""
	if n > 0 && b.run.pool.cfg.events != nil { // read now, because the caller may change the items once record has given it their results
		text = itemText(b.in[at+longest])
	}
	if n > 0 {
		b.run.record(b, s, failed)
	}
	if n > 0 && b.run.pool.cfg.events != nil {
		b.run.pool.cfg.events.put(BatchDone{
			At: now, Worker: by.Number, PID: by.PID, Input: b.run.number, First: worker.PlaceOf(b, at), Items: n, Failed: len(failed),
			Wait: s.wait, Trip: now.Sub(b.begun), Run: ran, Longest: longest, LongestItem: text, itemNS: itemNS, places: places,
		})
	}
}

// longestOf returns the index of the longest time: 0 if there are none.
func longestOf(times []uint64) int {
	longest := 0
	for i, ns := range times {
		if ns > times[longest] {
			longest = i
		}
	}
	return longest
}

// record records the outcomes of consecutive items of a batch. The places in failed count from the batch's first item.
func (r *run[In, Out]) record(b *batch[In, Out], s span, failed map[int]*ItemError) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c, offset := b.chunk, b.from
	b.latest = time.Now()
	r.endGrant(b)
	r.pool.breaker.progress()
	c.spans = append(c.spans, s)
	c.bytes += s.bytes
	r.bytes += s.bytes
	var delays map[int]time.Duration // of items that get another attempt
	for at, e := range failed {
		if delay, ok := r.retry(c, offset+at, e, false, false); ok {
			if delays == nil {
				delays = map[int]time.Duration{}
			}
			delays[offset+at] = delay
		} else {
			r.finalize(c, offset+at, e, false, false)
		}
	}
	r.dropItems(c, s.from, s.n, delays)
	if len(delays) > 0 {
		r.detach(b, c, s.n, delays)
	} else {
		r.addOutcomes(c, s.n)
	}
	r.grantCredits()
}

// addOutcomes counts n more items of c that have an outcome. Called with mu held.
func (r *run[In, Out]) addOutcomes(c *chunk[In, Out], n int) {
	c.left -= n
	if c.left > 0 || n == 0 {
		return
	}
	r.chunkDone(c)
}

// chunkDone says that all items of c have an outcome. Called with mu held.
func (r *run[In, Out]) chunkDone(c *chunk[In, Out]) {
	if !r.ordered {
		r.chunks.add(c)
	}
	r.chunkReady.Signal()
}
