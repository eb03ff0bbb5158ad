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
// For a workload of numbers, items travel as numbers up to the first item that is not one. That item, all later ones, and the items of any other
// workload travel as texts, and the worker reports what is wrong with them.
func (r *itemRun) take(ctx context.Context, pool *host.Pool) error {
	if r.journal == nil && r.dossiers == nil && !r.withItem { // these need the items' texts
		if form, numeric := formOf(pool); numeric {
			if err := form.take(ctx, r, pool); err != nil || r.enough || !r.source.given {
				return err
			}
		}
	}
	return r.takeTexts(ctx, pool)
}

// form holds the functions for a workload whose items and results are numbers.
type form struct {
	// take runs the items up to the first one that is not a number, and shows their results.
	take func(ctx context.Context, r *itemRun, pool *host.Pool) error
	// texts runs JSON texts and yields the results in any order. A second range over the items must continue after the last item.
	texts texts
}

type texts = func(ctx context.Context, pool *host.Pool, items iter.Seq[json.RawMessage]) iter.Seq2[result, error]

// formOf returns the form for a workload. It returns false unless both items and results are numbers.
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

// takeNumbers reads, runs and shows numbers. Reading, running and writing overlap, and a number needs no allocation of its own: between the input and
// the output there is no text.
func takeNumbers[In, Out number](ctx context.Context, r *itemRun, pool *host.Pool) error {
	codec := wire.CodecOf[Out]()
	_, silent := r.out.(noOutput)
	var text []byte
	shown := new(result)
	typed, err := host.Bind[In, Out](pool)
	if err != nil {
		return err
	}
	results := typed.Stream
	if r.unordered {
		results = typed.Unordered
	}
	for got, err := range results(ctx, numbers[In](r.source)) {
		if err != nil {
			return err
		}
		*shown = withoutValue(&got)
		if infinite := got.Value-got.Value != 0; got.Err == nil && (infinite || !silent) {
			text = write(codec, text[:0], got.Value, shown)
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

// write appends the text of a number to dst and makes it the value of r. If the number has no text, it gives r the error that a worker would report.
func write[Out number](codec *wire.Codec[Out], dst []byte, v Out, r *result) []byte {
	from := len(dst)
	text, err := codec.AppendJSON(dst, v)
	if err != nil {
		r.Err = &host.ItemError{Index: r.Index, Kind: host.KindFailed, Message: "result: " + err.Error(), Attempts: r.Attempts}
		return dst
	}
	r.Value = text[from:len(text):len(text)]
	return text
}

// textBytes is the size in bytes of the buffers that result texts share.
const textBytes = 16 << 10

// asNumbers runs JSON texts, and sends them to the workers as numbers up to the first one that is not a number. It yields the results in any order.
func asNumbers[In, Out number](ctx context.Context, pool *host.Pool, items iter.Seq[json.RawMessage]) iter.Seq2[result, error] {
	in, out := wire.CodecOf[In](), wire.CodecOf[Out]()
	return func(yield func(result, error) bool) {
		count, rest := 0, false
		var odd json.RawMessage // first item that is not a number
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
		for got, err := range host.BindJSON[In, Out](pool).Unordered(ctx, values) {
			shown := withoutValue(&got)
			if got.Err == nil && err == nil {
				if cap(text)-len(text) < 32 { // no number is longer than 32 bytes
					text = make([]byte, 0, textBytes)
				}
				text = write(out, text, got.Value, &shown)
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
		for got, err := range host.BindJSON[json.RawMessage, json.RawMessage](pool).Unordered(ctx, others) {
			moveBy(&got, count)
			if !yield(got, err) {
				return
			}
		}
	}
}

// asTexts runs JSON texts, and sends them to the workers as numbers where possible.
func asTexts(ctx context.Context, pool *host.Pool, items iter.Seq[json.RawMessage]) iter.Seq2[result, error] {
	if form, numeric := formOf(pool); numeric {
		return form.texts(ctx, pool, items)
	}
	return host.BindJSON[json.RawMessage, json.RawMessage](pool).Unordered(ctx, items)
}

// takeTexts runs the remaining items as texts.
func (r *itemRun) takeTexts(ctx context.Context, pool *host.Pool) error {
	first := r.sum.Items
	shown := new(result)
	if first > 0 {
		ctx = host.WithIndex(ctx, func(i int) int { return first + i })
	}
	items := r.source.items
	if r.dossiers != nil {
		items = r.dossiers.watch(items)
	}
	if r.underWay != nil {
		items = r.underWay.watch(items)
	}
	texts := host.BindJSON[json.RawMessage, json.RawMessage](pool)
	var results iter.Seq2[result, error]
	switch {
	case r.journal != nil && r.unordered:
		results = r.journal.Unordered(ctx, pool, items)
	case r.journal != nil:
		results = r.journal.Stream(ctx, pool, items)
	case r.unordered:
		results = texts.Unordered(ctx, items)
	default:
		results = texts.Stream(ctx, items)
	}
	for got, err := range results {
		if err != nil {
			return err
		}
		*shown = got
		if r.dossiers != nil {
			r.dossiers.close(shown, r.journal)
		}
		moveBy(shown, first)
		r.show(shown)
		shown.Value = nil // the value may be large, and the next result may take long
		if r.enough {
			return nil
		}
	}
	return nil
}

// moveBy adds n to the index of a result of a run that began with item n.
func moveBy(r *result, n int) {
	r.Index += n
	if r.Err != nil && n > 0 {
		e := *r.Err // observers may hold the original
		e.Index += n
		r.Err = &e
	}
}

// show counts one result, shows it, and sets enough if the run should stop.
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
