package wire_test

import (
	"bytes"
	"encoding/binary"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/parhost/parhost/internal/wire"
)

// column builds a column of values.
func column(aligned bool, values ...string) []byte {
	var w wire.ColumnWriter
	w.Reset(aligned)
	for _, v := range values {
		w.End(append(w.Begin(), v...))
	}
	return w.Bytes()
}

func TestColumnsHaveTheLayoutThatIsWrittenDown(t *testing.T) {
	for name, c := range map[string]struct {
		aligned bool
		values  []string
		want    string
	}{
		"no values":               {false, nil, ""},
		"one":                     {false, []string{"abc"}, "\x03\x00\x00\x00" + "\x00\x00\x00\x00" + "abc"},
		"two, back to back":       {false, []string{"a", "bc"}, "\x01\x00\x00\x00" + "\x02\x00\x00\x00" + "abc"},
		"two, aligned":            {true, []string{"a", "bc"}, "\x01\x00\x00\x00" + "\x02\x00\x00\x00" + "a\x00\x00\x00\x00\x00\x00\x00" + "bc"},
		"empty ones, aligned":     {true, []string{"", "", "x"}, "\x00\x00\x00\x00" + "\x00\x00\x00\x00" + "\x01\x00\x00\x00" + "\x00\x00\x00\x00" + "x"},
		"one behind, aligned":     {true, []string{"12345678", "9"}, "\x08\x00\x00\x00" + "\x01\x00\x00\x00" + "12345678" + "9"},
		"an empty one at the end": {true, []string{"a", ""}, "\x01\x00\x00\x00" + "\x00\x00\x00\x00" + "a\x00\x00\x00\x00\x00\x00\x00"},
	} {
		t.Run(name, func(t *testing.T) {
			got := column(c.aligned, c.values...)
			if string(got) != c.want {
				t.Errorf("column of %q: got %q, want %q", c.values, got, c.want)
			}
			r, err := wire.OpenColumn(got, len(c.values), c.aligned)
			if err != nil {
				t.Fatalf("opening it: got the error %v", err)
			}
			for i, want := range c.values {
				if v := r.Next(); string(v) != want {
					t.Errorf("value %d: got %q, want %q", i, v, want)
				}
			}
		})
	}
}

func TestValuesThatAreDroppedLeaveNoTrace(t *testing.T) {
	var w wire.ColumnWriter
	w.Reset(true)
	w.End(append(w.Begin(), "kept"...))
	_ = append(w.Begin(), "dropped"...)
	w.End(append(w.Begin(), "also kept"...))
	w.Empty()
	if d := cmp.Diff(column(true, "kept", "also kept", ""), w.Bytes()); d != "" {
		t.Errorf("a column after a dropped value (-want +got):\n%s", d)
	}
	if w.Len() != 3 || w.Size() != len(w.Bytes()) {
		t.Errorf("Len and Size: got %d and %d, want 3 and %d", w.Len(), w.Size(), len(w.Bytes()))
	}
}

func TestColumnsOfTheWrongSizeAreRefused(t *testing.T) {
	good := column(false, "ab", "c")
	for name, c := range map[string]struct {
		bytes []byte
		n     int
		says  string
	}{
		"no table":          {nil, 1, "needs a table"},
		"half a table":      {good[:7], 2, "needs a table"},
		"a negative count":  {good, -1, "needs a table"},
		"a byte missing":    {good[:len(good)-1], 2, "value 1 ends at byte 3 of 2"},
		"a byte too many":   {append(bytes.Clone(good), 0), 2, "1 bytes behind the last value"},
		"fewer values":      {good, 1, "behind the last value"},
		"lengths that wrap": {binary.LittleEndian.AppendUint64(nil, ^uint64(0)), 2, "ends at byte"},
		"bytes for none":    {[]byte{0}, 0, "behind the last value"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := wire.OpenColumn(c.bytes, c.n, false)
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("opening %q as %d values: got %v, want an error with %q", c.bytes, c.n, err, c.says)
			}
		})
	}
}

func TestFixedColumnsOfTheWrongSizeAreRefused(t *testing.T) {
	codec := wire.CodecOf[float64]()
	b := codec.AppendFixed(nil, []float64{1, 2})
	got := make([]float64, 2)
	if err := codec.ReadFixed(got, b); err != nil || got[1] != 2 {
		t.Errorf("reading two numbers: got %v, %v", got, err)
	}
	for _, n := range []int{0, 1, 3} {
		if err := codec.ReadFixed(make([]float64, n), b); err == nil {
			t.Errorf("reading 16 bytes as %d numbers: got no error, want one", n)
		}
	}
}

func FuzzOpenColumn(f *testing.F) {
	f.Add(column(false, "a", "bc"), 2, false)
	f.Add(column(true, "a", "", "bc"), 3, true)
	f.Add([]byte{255, 255, 255, 255, 0, 0, 0, 0}, 1, true)
	f.Add([]byte{}, math.MaxInt, false)
	f.Fuzz(func(t *testing.T, b []byte, n int, aligned bool) {
		c, err := wire.OpenColumn(b, n, aligned)
		if err != nil {
			return
		}
		sum := 0
		for range n {
			sum += len(c.Next()) // must not go beyond the bytes
		}
		if sum > len(b) {
			t.Fatalf("a column of %d bytes gave out %d", len(b), sum)
		}
	})
}

func FuzzColumnRoundTrip(f *testing.F) {
	f.Add("a\x00bc\x00\x00d", true)
	f.Add("", false)
	f.Fuzz(func(t *testing.T, joined string, aligned bool) {
		values := strings.Split(joined, "\x00")
		c, err := wire.OpenColumn(column(aligned, values...), len(values), aligned)
		if err != nil {
			t.Fatalf("a column of %q: got the error %v", values, err)
		}
		for i, want := range values {
			if got := c.Next(); string(got) != want {
				t.Fatalf("value %d of %q: got %q", i, values, got)
			}
		}
	})
}
