package sdktest

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/parhost/parhost/internal/conform"
	"github.com/parhost/parhost/internal/inprocess"
	"github.com/parhost/parhost/internal/wire"
	"github.com/parhost/parhost/protocol"
	"github.com/parhost/parhost/sdk"
)

// Run runs items one after the other in one worker, with set-up and teardown, and returns their results in order. It ends the test if an item fails,
// and if the teardown fails.
func Run[In, Out any](tb testing.TB, w *sdk.Workload[In, Out], items ...In) []Out {
	tb.Helper()
	results, errs := run[In, Out](tb, w, items, false)
	for i := range items {
		if e := errs[i]; e != nil {
			e.Index = i
			tb.Fatalf("%v\n%s", e, e.Stack)
		}
	}
	return results
}

// Do runs one item in a new worker. The error is a [*protocol.ItemError] if the item failed. Its Kind is [protocol.KindFailed] if the workload returned an
// error, [protocol.KindBadItem] if the item does not decode or the workload returned [sdk.BadItem], or else one of the others.
func Do[In, Out any](tb testing.TB, w *sdk.Workload[In, Out], item In) (Out, error) {
	tb.Helper()
	return one(run[In, Out](tb, w, []In{item}, false))
}

// DoJSON is [Do] for an item that is a JSON text, as the items in a file are. The result is a JSON text too.
func DoJSON(tb testing.TB, w sdk.AnyWorkload, item string) (string, error) {
	tb.Helper()
	result, err := one(run[json.RawMessage, json.RawMessage](tb, w, []json.RawMessage{json.RawMessage(item)}, true))
	return string(result), err
}

func one[Out any](results []Out, errs map[int]*protocol.ItemError) (Out, error) {
	if e := errs[0]; e != nil {
		return *new(Out), e
	}
	return results[0], nil
}

// run sends items through one worker, in binary form or as JSON.
func run[In, Out any](tb testing.TB, w sdk.AnyWorkload, items []In, asJSON bool) ([]Out, map[int]*protocol.ItemError) {
	tb.Helper()
	in, out := wire.CodecOf[In](), wire.CodecOf[Out]()
	_, resultKind := inprocess.Core(w).Kinds()
	encode, decode := in.Append, out.Decode
	if asJSON {
		encode, decode = in.AppendJSON, out.DecodeJSON
	}
	values := make([][]byte, len(items))
	for i, item := range items {
		var err error
		if values[i], err = encode(nil, item); err != nil {
			tb.Fatalf("item %d: %v", i, err)
		}
	}
	column := conform.Column(values, !asJSON && in.Aligned())
	if !asJSON && in.Fixed() {
		column = in.AppendFixed(nil, items)
	}

	worker, err := starter(tb, w)(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	defer worker.Kill()
	stream, err := conform.OpenStream(tb.Context(), worker, resultKind, 1, 0)
	if err != nil {
		tb.Fatal(err)
	}
	b, err := stream.RunWithin(conform.Order{Count: len(items), Items: column, JSON: asJSON}, patience(tb))
	if err != nil {
		tb.Fatal(err)
	}
	results := make([]Out, len(items))
	for i, v := range b.Values {
		if b.Errors[i] != nil {
			continue
		}
		if results[i], err = decode(v); err != nil {
			tb.Fatalf("result %d: %v", i, err)
		}
	}
	if n := len(b.Values); n < len(items) { // a panic ends the worker; a host would run the remaining items on another worker
		if b.Errors[n-1] == nil {
			tb.Fatalf("%d of %d items came back without a reason", len(items)-n, len(items))
		}
		return results, b.Errors
	}
	if err := stream.Close(patience(tb)); err != nil {
		tb.Fatal(err)
	}
	<-worker.Gone
	if err := worker.Torn(); err != nil {
		tb.Fatalf("teardown: %v", err)
	}
	return results, b.Errors
}

// patience returns nine tenths of the time until the test's deadline, so that a workload that hangs fails with a message of its own. It is an hour if
// there is no deadline.
func patience(tb testing.TB) time.Duration {
	tb.Helper()
	if d, ok := tb.(interface{ Deadline() (time.Time, bool) }); ok {
		if at, limited := d.Deadline(); limited {
			return time.Until(at) * 9 / 10
		}
	}
	return time.Hour
}
