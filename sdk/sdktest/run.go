package sdktest

import (
	"testing"
	"time"

	"github.com/parhost/parhost/internal/conform"
	"github.com/parhost/parhost/internal/wire"
	"github.com/parhost/parhost/sdk"
)

// ItemError is why an item has no result: its Kind is "failed" if the workload returned an error, "bad_item" if the item does
// not decode or the workload said [sdk.BadItem], "panic", "timeout", "oversize" or "canceled".
type ItemError = wire.ItemError

// Run runs items one after the other in one worker, with set-up and teardown, and returns their results in order. The test ends
// if an item fails, or if an item does not fit In or a result Out.
//
// In and Out are mostly the workload's own types. Any others whose JSON texts fit will do.
func Run[In, Out any](tb testing.TB, w *sdk.Workload, items ...In) []Out {
	tb.Helper()
	results, errs := run[In, Out](tb, w, items)
	for i := range items {
		if e := errs[i]; e != nil {
			e.Index = i
			tb.Fatalf("%v\n%s", e, e.Stack)
		}
	}
	return results
}

// Do runs one item in a worker of its own. The error is an [*ItemError] if the item failed.
func Do[In, Out any](tb testing.TB, w *sdk.Workload, item In) (Out, error) {
	tb.Helper()
	results, errs := run[In, Out](tb, w, []In{item})
	if e := errs[0]; e != nil {
		return *new(Out), e
	}
	return results[0], nil
}

// run sends items through a worker: packed if the types are the workload's own, as JSON otherwise.
func run[In, Out any](tb testing.TB, w *sdk.Workload, items []In) ([]Out, map[int]*ItemError) {
	tb.Helper()
	in, out := wire.CodecOf[In](), wire.CodecOf[Out]()
	itemKind, resultKind := w.Core().Kinds()
	asJSON := in.Kind != itemKind || out.Kind != resultKind
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
	b, err := stream.Run(conform.Order{Count: len(items), Items: column, JSON: asJSON}, patience(tb))
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
	if n := len(b.Values); n < len(items) { // a panic takes the worker along, and what comes after it is another worker's
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

// patience is the time that the test has left, so that a workload which hangs is a failure that says so.
func patience(tb testing.TB) time.Duration {
	tb.Helper()
	if d, ok := tb.(interface{ Deadline() (time.Time, bool) }); ok {
		if at, limited := d.Deadline(); limited {
			return time.Until(at) * 9 / 10
		}
	}
	return time.Hour
}
