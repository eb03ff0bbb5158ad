package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/internal/wire"
)

// take runs the items and shows each result.
//
// Numbers for a workload of numbers go as such: they are read while the ones before are at work and written while the ones behind
// are, each with no memory of its own, and on their way between the two nobody looks at a text. From the first item on that is none
// the texts themselves go, as for all other workloads: the worker says what is wrong with it. They do from the beginning if they are to
// be kept.
func (r *itemRun) take(ctx context.Context, pool *host.Pool) error {
	if r.journal != nil || r.dossiers != nil {
		return r.takeTexts(ctx, pool)
	}
	m := pool.Manifest()
	var err error
	switch m.ItemKind + "→" + m.ResultKind {
	case "float64→float64":
		err = takeNumbers[float64, float64](ctx, r, pool)
	case "float64→int64":
		err = takeNumbers[float64, int64](ctx, r, pool)
	case "int64→float64":
		err = takeNumbers[int64, float64](ctx, r, pool)
	case "int64→int64":
		err = takeNumbers[int64, int64](ctx, r, pool)
	default:
		return r.takeTexts(ctx, pool)
	}
	if err == nil && !r.enough && r.source.given {
		err = r.takeTexts(ctx, pool)
	}
	return err
}

// takeNumbers runs the items up to the first that is no number.
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
		*shown = result{Index: got.Index, Err: got.Err, Worker: got.Worker, PID: got.PID, Attempts: got.Attempts, Wait: got.Wait, Run: got.Run}
		if infinite := got.Value-got.Value != 0; got.Err == nil && (infinite || !silent) {
			if text, err = codec.AppendJSON(text[:0], got.Value); err != nil { // in the words of a worker that was to write it
				shown.Err = &host.ItemError{Index: got.Index, Kind: host.Failed, Message: "result: " + err.Error(), Attempts: got.Attempts}
			}
			shown.Value = text
		}
		if r.show(shown); r.enough {
			return nil
		}
	}
	return nil
}

// takeTexts runs the items that are left.
func (r *itemRun) takeTexts(ctx context.Context, pool *host.Pool) error {
	first := r.sum.Items
	shown := new(result)
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
		if r.show(shown); r.enough {
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
	if r.policy.reached(r.sum.Failed, r.sum.Items) {
		r.sum.Stopped = fmt.Sprintf("%d failures (--on-error %s)", r.sum.Failed, r.onError)
		r.enough = true
	}
}
