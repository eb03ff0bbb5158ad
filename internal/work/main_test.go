package work

import (
	"context"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/parhost/parhost/internal/wire"
	"github.com/parhost/parhost/protocol"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// outcome is the result of a job, assembled from its parts.
type outcome[Out any] struct {
	values []Out
	errs   map[int]*protocol.ItemError
	parts  []Part
	done   int
}

// one makes the core of a function of one item.
func one[In, Out any](f func(context.Context, In) (Out, error)) Core {
	return New(func(context.Context) (Funcs[In, Out], func(context.Context) error, error) {
		return Funcs[In, Out]{One: f}, nil, nil
	})
}

// many makes the core of a batch function.
func many[In, Out any](f func(context.Context, []In) ([]Out, error)) Core {
	return New(func(context.Context) (Funcs[In, Out], func(context.Context) error, error) {
		return Funcs[In, Out]{Many: f}, nil, nil
	})
}

// formats are the formats in which items can come, by name.
var formats = map[string]Format{"native": Native, "packed": Packed, "json": JSON}

// runJob runs items on a core in a format, checks that the parts are consecutive, and returns the outcome. with may change the job before it runs.
func runJob[In, Out any](t *testing.T, c Core, format Format, items []In, with func(*Job)) outcome[Out] {
	t.Helper()
	j, wait := startJob[In, Out](t, c, format, items, with)
	_ = j
	return wait()
}

// startJob starts what runJob does. The returned function waits for the outcome.
func startJob[In, Out any](t *testing.T, c Core, format Format, items []In, with func(*Job)) (*Job, func() outcome[Out]) {
	t.Helper()
	instance, err := c.Open(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	in, out := wire.CodecOf[In](), wire.CodecOf[Out]()
	o := outcome[Out]{values: make([]Out, len(items)), errs: map[int]*protocol.ItemError{}}
	var faults []string
	j := &Job{Count: len(items), Format: format}
	switch {
	case format == Native:
		j.In, j.Out = items, o.values
	case format == Packed && in.Fixed():
		j.Items = in.AppendFixed(nil, items)
	default:
		j.Items = pack(t, in, format, items)
	}
	last := false
	j.Report = func(p Part) {
		if p.From != o.done {
			faults = append(faults, "a part that does not begin where the last one ended")
		}
		if last {
			faults = append(faults, "a part after the last one")
		}
		if len(p.Errors) != len(p.Places) {
			faults = append(faults, "errors without places")
		}
		if p.ItemNS != nil && len(p.ItemNS) != p.Count {
			faults = append(faults, "times that are not one for each item")
		}
		for i, e := range p.Errors {
			if p.Places[i] < p.From || p.Places[i] >= p.From+p.Count || o.errs[p.Places[i]] != nil {
				faults = append(faults, "an error out of place")
			}
			o.errs[p.Places[i]] = e
		}
		if format != Native {
			if err := unpack(out, format, p, o.values[p.From:p.From+p.Count], o.errs); err != nil {
				faults = append(faults, err.Error())
			}
		}
		o.done += p.Count
		last = p.Last
		o.parts = append(o.parts, p)
	}
	if with != nil {
		with(j)
	}
	var run sync.WaitGroup
	run.Go(func() { instance.Run(t.Context(), j) })
	return j, func() outcome[Out] {
		t.Helper()
		run.Wait()
		if !last {
			faults = append(faults, "no last part")
		}
		for _, f := range faults {
			t.Errorf("settling: got %s", f)
		}
		if err := instance.Close(t.Context()); err != nil {
			t.Error(err)
		}
		return o
	}
}

func pack[In any](t *testing.T, c *wire.Codec[In], format Format, items []In) []byte {
	t.Helper()
	var w wire.ColumnWriter
	encode := c.AppendJSON
	if w.Reset(false); format == Packed {
		w.Reset(c.Aligned())
		encode = c.Append
	}
	for _, v := range items {
		b, err := encode(w.Begin(), v)
		if err != nil {
			t.Fatal(err)
		}
		w.End(b)
	}
	return w.Bytes()
}

func unpack[Out any](c *wire.Codec[Out], format Format, p Part, to []Out, errs map[int]*protocol.ItemError) error {
	if format == Packed && c.Fixed() {
		return c.ReadFixed(to, p.Values)
	}
	decode, aligned := c.DecodeJSON, false
	if format == Packed {
		decode, aligned = c.Decode, c.Aligned()
	}
	col, err := wire.OpenColumn(p.Values, p.Count, aligned)
	if err != nil {
		return err
	}
	for i := range to {
		b := col.Next()
		if errs[p.From+i] != nil {
			continue
		}
		if to[i], err = decode(b); err != nil {
			return err
		}
	}
	return nil
}

// inFormats runs a test in each format.
func inFormats(t *testing.T, test func(t *testing.T, f Format)) {
	t.Helper()
	for name, f := range formats {
		t.Run(name, func(t *testing.T) { test(t, f) })
	}
}
