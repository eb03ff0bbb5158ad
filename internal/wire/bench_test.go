package wire_test

import (
	"strconv"
	"testing"

	"github.com/parhost/parhost/internal/wire"
)

// benchItems is the number of values in a column of the benchmarks, as in a batch of usual size.
const benchItems = 1000

// perItem reports the time per value.
func perItem(b *testing.B) {
	b.Helper()
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchItems, "ns/item")
}

func benchNumbers() []float64 {
	xs := make([]float64, benchItems)
	for i := range xs {
		xs[i] = 1 / float64(i+1)
	}
	return xs
}

func BenchmarkNumbersPacked(b *testing.B) {
	codec := wire.CodecOf[float64]()
	xs := benchNumbers()
	column := codec.AppendFixed(nil, xs)
	b.Run("write", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			column = codec.AppendFixed(column[:0], xs)
		}
		perItem(b)
	})
	b.Run("read", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := codec.ReadFixed(xs, column); err != nil {
				b.Fatal(err)
			}
		}
		perItem(b)
	})
}

func BenchmarkNumbersAsText(b *testing.B) {
	codec := wire.CodecOf[float64]()
	benchColumn(b, benchNumbers(), false, codec.AppendJSON, codec.DecodeJSON)
}

func BenchmarkStrings(b *testing.B) {
	codec := wire.CodecOf[string]()
	texts := make([]string, benchItems)
	for i := range texts {
		texts[i] = "item " + strconv.Itoa(i)
	}
	benchColumn(b, texts, codec.Aligned(), codec.Append, codec.Decode)
}

func BenchmarkSlices(b *testing.B) {
	codec := wire.CodecOf[[]float64]()
	slices := make([][]float64, benchItems)
	for i := range slices {
		slices[i] = make([]float64, 16)
	}
	benchColumn(b, slices, codec.Aligned(), codec.Append, codec.Decode)
}

func BenchmarkStructs(b *testing.B) {
	type point struct {
		X    int    `json:"x"`
		Name string `json:"name"`
	}
	codec := wire.CodecOf[point]()
	points := make([]point, benchItems)
	for i := range points {
		points[i] = point{i, "p"}
	}
	benchColumn(b, points, codec.Aligned(), codec.Append, codec.Decode)
}

// benchColumn writes and reads a column of values of varying length.
func benchColumn[T any](b *testing.B, values []T, aligned bool, encode func([]byte, T) ([]byte, error), decode func([]byte) (T, error)) {
	b.Helper()
	var w wire.ColumnWriter
	write := func(b *testing.B) {
		b.Helper()
		w.Reset(aligned)
		for _, v := range values {
			data, err := encode(w.Begin(), v)
			if err != nil {
				b.Fatal(err)
			}
			w.End(data)
		}
	}
	b.Run("write", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			write(b)
		}
		perItem(b)
	})
	b.Run("read", func(b *testing.B) {
		write(b)
		bytes := w.Bytes()
		b.ReportAllocs()
		for b.Loop() {
			c, err := wire.OpenColumn(bytes, len(values), aligned)
			if err != nil {
				b.Fatal(err)
			}
			for range values {
				if _, err := decode(c.Next()); err != nil {
					b.Fatal(err)
				}
			}
		}
		perItem(b)
	})
}
