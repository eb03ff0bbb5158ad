package host

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/parhost/parhost/host/internal/worker"
	"github.com/parhost/parhost/internal/wire"
)

// part is the outcomes of consecutive items of a batch, which came in one message. Places count from the batch's first item.
type part struct {
	from, n int
	by      worker.Info
	ran     time.Duration // of all n items
	itemNS  []uint64      // the time of each item; nil if only the sum is known
	came    time.Time
	failed  map[int]*ItemError // by place
	bytes   int                // of the results; errors are not counted
	column  []byte             // the results, if they are decoded later
	counted bool               // bytes count against the memory of the run already
}

func (p *part) fail(at int, e *wire.ItemError) {
	if p.failed == nil {
		p.failed = map[int]*ItemError{}
	}
	p.failed[at] = e
}

// record records the outcomes of a part.
func (b *batch[In, Out]) record(p *part) {
	r := b.run
	s := span{n: p.n, worker: p.by.Number, pid: p.by.PID, run: p.ran, itemNS: p.itemNS, bytes: p.bytes}
	if r.weighOut != nil && p.bytes == 0 { // Go's own values
		for _, v := range b.out[p.from:][:p.n] {
			s.bytes += r.weighOut(v)
		}
	}
	for _, e := range p.failed {
		s.bytes += wire.Weight(e)
	}
	if p.n == 0 {
		b.trial.add(0, p.ran, nil)
		return
	}
	r.mu.Lock()
	c, offset := b.chunk, b.from
	s.from, s.wait = offset+p.from, b.begun.Sub(c.cut)
	b.trial.add(p.n, p.ran, p.itemNS)
	b.trial.bytes += s.bytes
	added := s.bytes
	if p.counted {
		added -= p.bytes
	} else {
		r.endGrant(b)
	}
	r.pool.breaker.progress()
	c.spans = append(c.spans, s)
	c.bytes += added
	r.bytes += added
	var delays map[int]time.Duration // of items that get another attempt
	for at, e := range p.failed {
		if delay, ok := r.retry(c, offset+at, e, false); ok {
			if delays == nil {
				delays = map[int]time.Duration{}
			}
			delays[offset+at] = delay
		} else {
			r.finalize(c, offset+at, e)
		}
	}
	r.dropItems(c, s.from, s.n, delays)
	if len(delays) > 0 {
		r.detach(b, c, s.n, delays)
	} else {
		r.addOutcomes(c, s.n)
	}
	r.grantCredits()
	r.mu.Unlock()
	r.pool.cfg.events.put(BatchDone{
		Worker: p.by.Number, PID: p.by.PID, First: b.index + p.from, Items: p.n, Wait: s.wait, Trip: p.came.Sub(b.begun), Run: p.ran,
	})
}

// decodeColumn decodes the results of n items. Results that are not of the caller's type fail their items.
func (b *batch[In, Out]) decodeColumn(from, n int, column []byte, p *part) error {
	out := b.out[from:][:n]
	codec := &b.run.out
	if !b.options.JSON && codec.Fixed() {
		return codec.ReadFixed(out, column)
	}
	decode, aligned := codec.Decode, codec.Aligned()
	if b.options.JSON {
		decode, aligned = codec.DecodeJSON, false
	}
	c, err := wire.OpenColumn(column, n, aligned)
	if err != nil {
		return err
	}
	most := b.run.pool.cfg.MaxResultBytes
	for i := range out {
		text := c.Next()
		if p.failed[from+i] != nil {
			continue
		}
		if len(text) > most {
			p.fail(from+i, &wire.ItemError{
				Kind: wire.Oversize, Size: int64(len(text)),
				Message: fmt.Sprintf("result is %d bytes, the limit is %d (Config.MaxResultBytes)", len(text), most),
			})
			continue
		}
		if out[i], err = decodeOne(decode, text); err == nil {
			continue
		}
		if (b.options.JSON || codec.Kind == wire.KindJSON) && mayBeText(text, err) { // the caller's type may be wrong
			p.fail(from+i, &wire.ItemError{Kind: wire.Failed, Message: wire.Bound(fmt.Sprintf("result is no %T: %v", out[i], err), wire.MaxMessageText)})
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

// decodeOne decodes one result. The caller's own UnmarshalJSON may panic, or end its goroutine, which must not end the host.
func decodeOne[Out any](decode func([]byte) (Out, error), text []byte) (v Out, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("decoding it panicked: %v", p)
		}
	}()
	return decode(text)
}

// decoding is the parts of a batch whose results are decoded apart from the worker, because methods of the results' type, such as UnmarshalJSON, may use the
// pool.
type decoding[In, Out any] struct {
	mu      sync.Mutex
	parts   []*part
	running bool
	idle    chan struct{} // closed when no part is left; nil before the first
	bad     error         // why a result is not one of the workload's; later parts are dropped
}

// decodeLater queues a part whose results have come. They count against the memory of the run from now on.
func (b *batch[In, Out]) decodeLater(p *part) {
	r := b.run
	r.mu.Lock()
	r.endGrant(b)
	p.counted = true
	b.chunk.bytes += p.bytes
	r.bytes += p.bytes
	r.mu.Unlock()
	d := &b.decoding
	d.mu.Lock()
	defer d.mu.Unlock()
	d.parts = append(d.parts, p)
	if !d.running {
		d.running, d.idle = true, make(chan struct{})
		go b.decodeParts()
	}
}

// decodeParts decodes and records queued parts until none is left.
func (b *batch[In, Out]) decodeParts() {
	d := &b.decoding
	ended := false
	defer func() {
		if !ended { // UnmarshalJSON has ended this goroutine (runtime.Goexit, testing.T.FailNow)
			go b.decodeParts()
		}
	}()
	for p := b.nextPart(); p != nil; p = b.nextPart() {
		if d.bad == nil {
			b.decodePart(p)
		}
	}
	ended = true
}

func (b *batch[In, Out]) nextPart() *part {
	d := &b.decoding
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.parts) == 0 {
		d.running = false
		close(d.idle)
		return nil
	}
	p := d.parts[0]
	d.parts = d.parts[1:]
	return p
}

// decodePart decodes and records one part.
func (b *batch[In, Out]) decodePart(p *part) {
	decoded := false
	failRest := func(message string) {
		for at := p.from; at < p.from+p.n; at++ {
			if p.failed[at] == nil {
				p.fail(at, &wire.ItemError{Kind: wire.Failed, Message: message})
			}
		}
		b.record(p)
	}
	defer func() {
		if !decoded { // runtime.Goexit
			failRest("decoding its result, or the result of an item beside it, ended the goroutine (runtime.Goexit, testing.T.FailNow)")
		}
	}()
	err := b.decodeColumn(p.from, p.n, p.column, p)
	decoded = true
	switch {
	case err == nil:
		b.record(p)
	case b.run.pool.cfg.Mode == Process: // the worker has broken the protocol
		b.decoding.bad = err
	default: // it is not known which of them have been decoded
		failRest(err.Error())
	}
}

// awaitDecoded waits until all results that have come are decoded. The error says why one cannot be a result of the workload.
func (b *batch[In, Out]) awaitDecoded() error {
	d := &b.decoding
	d.mu.Lock()
	idle := d.idle
	d.mu.Unlock()
	if idle != nil {
		<-idle
	}
	return d.bad
}
