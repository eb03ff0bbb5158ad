package main

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/internal/wire"
)

// take runs the items and shows each result.
//
// Numbers for a workload of numbers go as such. From the first item on that is none the texts themselves go, as for all other workloads:
// the worker says what is wrong with it.
func (r *itemRun) take(ctx context.Context, pool *host.Pool) error {
	if r.journal == nil && r.dossiers == nil && !r.withItem { // which keep texts
		if form, numeric := formOf(pool); numeric {
			if err := form.take(ctx, r, pool); err != nil || r.enough || !r.source.given {
				return err
			}
		}
	}
	return r.takeTexts(ctx, pool)
}

// form is how items and results of numbers go.
type form struct {
	// take runs the items up to the first that is no number, and shows their results.
	take func(ctx context.Context, r *itemRun, pool *host.Pool) error
	// texts is as [host.Unordered] of texts. Ranging over the items a second time has to go on behind the last one.
	texts texts
}

type texts = func(ctx context.Context, pool *host.Pool, items iter.Seq[json.RawMessage]) iter.Seq2[result, error]

// formOf returns how a workload's items and results go, if both are numbers.
func formOf(pool *host.Pool) (form, bool) {
	m := pool.Manifest()
	switch m.ItemKind + "→" + m.ResultKind {
	case "float64→float64":
		return form{takeNumbers[float64, float64], asNumbers[float64, float64]}, true
	case "float64→int64":
		return form{takeNumbers[float64, int64], asNumbers[float64, int64]}, true
	case "int64→float64":
		return form{takeNumbers[int64, float64], asNumbers[int64, float64]}, true
	case "int64→int64":
		return form{takeNumbers[int64, int64], asNumbers[int64, int64]}, true
	default:
		return form{}, false
	}
}

// takeNumbers reads numbers while the ones before are at work and writes them while the ones behind are, each with no memory of its own:
// on their way between the two nobody looks at a text.
func takeNumbers[In, Out number](ctx context.Context, r *itemRun, pool *host.Pool) error {
	codec := wire.CodecOf[Out]()
	_, silent := r.out.(noOutput)
	var text []byte
	shown := new(result)
	results := host.Stream[In, Out]
	if r.unordered {
		results = host.Unordered[In, Out]
	}
	for got, err := range results(ctx, pool, numbers[In](r.source)) {
		if err != nil {
			return err
		}
		*shown = withoutValue(&got)
		if infinite := got.Value-got.Value != 0; got.Err == nil && (infinite || !silent) {
			text = write(&codec, text[:0], got.Value, shown)
		}
		if r.show(shown); r.enough {
			return nil
		}
	}
	return nil
}

func withoutValue[Out number](r *host.Result[Out]) result {
	return result{Index: r.Index, Err: r.Err, Worker: r.Worker, PID: r.PID, Attempts: r.Attempts, Wait: r.Wait, Run: r.Run}
}

// write makes a number the value of its result, as a text behind dst, or says why it has none in the words of a worker that was to write it.
func write[Out number](codec *wire.Codec[Out], dst []byte, v Out, r *result) []byte {
	from := len(dst)
	text, err := codec.AppendJSON(dst, v)
	if err != nil {
		r.Err = &host.ItemError{Index: r.Index, Kind: host.Failed, Message: "result: " + err.Error(), Attempts: r.Attempts}
		return dst
	}
	r.Value = text[from:len(text):len(text)]
	return text
}

// textBytes is how much memory texts share.
const textBytes = 16 << 10

// asNumbers is [host.Unordered] for texts, most of which are numbers: these go as such.
func asNumbers[In, Out number](ctx context.Context, pool *host.Pool, items iter.Seq[json.RawMessage]) iter.Seq2[result, error] {
	in, out := wire.CodecOf[In](), wire.CodecOf[Out]()
	return func(yield func(result, error) bool) {
		count, rest := 0, false
		var odd json.RawMessage // the first that is no number
		values := func(yield func(In) bool) {
			for item := range items {
				v, err := in.DecodeJSON(item)
				if err != nil {
					odd, rest = item, true
					return
				}
				if count++; !yield(v) {
					return
				}
			}
		}
		var text []byte
		for got, err := range host.Unordered[In, Out](ctx, pool, values) {
			shown := withoutValue(&got)
			if got.Err == nil && err == nil {
				if cap(text)-len(text) < 32 { // no number is longer
					text = make([]byte, 0, textBytes)
				}
				text = write(&out, text, got.Value, &shown)
			}
			if !yield(shown, err) || err != nil {
				return
			}
		}
		if !rest {
			return
		}
		ctx := host.WithIndex(ctx, func(i int) int { return count + i })
		others := func(yield func(json.RawMessage) bool) {
			if yield(odd) {
				items(yield)
			}
		}
		for got, err := range host.Unordered[json.RawMessage, json.RawMessage](ctx, pool, others) {
			got.Index += count
			if got.Err != nil {
				e := *got.Err // observers may have the other
				e.Index += count
				got.Err = &e
			}
			if !yield(got, err) {
				return
			}
		}
	}
}

// asTexts runs items as numbers where it can.
func asTexts(ctx context.Context, pool *host.Pool, items iter.Seq[json.RawMessage]) iter.Seq2[result, error] {
	if form, numeric := formOf(pool); numeric {
		return form.texts(ctx, pool, items)
	}
	return host.Unordered[json.RawMessage, json.RawMessage](ctx, pool, items)
}

// takeTexts runs the items that are left.
func (r *itemRun) takeTexts(ctx context.Context, pool *host.Pool) error {
	first := r.sum.Items
	shown := new(result)
	if first > 0 {
		ctx = host.WithIndex(ctx, func(i int) int { return first + i })
	}
	results := host.Stream[json.RawMessage, json.RawMessage]
	switch {
	case r.journal != nil && r.unordered:
		results = r.journal.Unordered
	case r.journal != nil:
		results = r.journal.Stream
	case r.unordered:
		results = host.Unordered[json.RawMessage, json.RawMessage]
	}
	items := r.source.items
	if r.dossiers != nil {
		items = r.dossiers.watch(items)
	}
	if r.underWay != nil {
		items = r.underWay.watch(items)
	}
	for got, err := range results(ctx, pool, items) {
		if err != nil {
			return err
		}
		*shown = got
		if r.dossiers != nil {
			r.dossiers.close(shown, r.journal)
		}
		shown.Index += first
		if shown.Err != nil {
			shown.Err.Index += first
		}
		r.show(shown)
		shown.Value = nil // which may be large, and the next result may be long in coming
		if r.enough {
			return nil
		}
	}
	return nil
}

// show counts one result and shows it.
func (r *itemRun) show(result *result) {
	r.sum.Items++
	if result.Err == nil {
		r.sum.OK++
	} else {
		r.fault(result)
	}
	if r.lost = r.out.add(result); r.lost != nil {
		r.enough = true
		return
	}
	r.progress.step(r.sum.Items)
	if decisive := result.Err != nil || r.sum.Items == shareFrom; decisive && r.policy.reached(r.sum.Failed, r.sum.Items, r.source.count) {
		r.sum.Stopped = fmt.Sprintf("%s (--on-error %s)", wire.Count(r.sum.Failed, "failure"), r.onError)
		r.enough = true
	}
}
