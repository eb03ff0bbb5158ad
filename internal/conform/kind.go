package conform

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"sync"

	"github.com/parhost/parhost/internal/wire"
)

// codec packs and splits the values of one kind, without knowing the workload's Go types.
type codec struct {
	pack  func(texts [][]byte) (column []byte, err error)
	split func(column []byte, n int) (values [][]byte, err error)
	value func(text []byte) (packed []byte, err error) // packs one JSON text
}

// codecs maps each kind whose packed form follows from its JSON text to its codec. Kinds of proto messages are not among them.
var codecs = sync.OnceValue(func() map[string]codec {
	return map[string]codec{
		wire.KindString: codecFor[string](),
		wire.KindBytes:  codecFor[[]byte](),
		wire.KindJSON:   codecFor[json.RawMessage](),

		"int8": codecFor[int8](), "int16": codecFor[int16](), "int32": codecFor[int32](), "int64": codecFor[int64](),
		"uint8": codecFor[uint8](), "uint16": codecFor[uint16](), "uint32": codecFor[uint32](), "uint64": codecFor[uint64](),
		"float32": codecFor[float32](), "float64": codecFor[float64](),

		"[]int8": codecFor[[]int8](), "[]int16": codecFor[[]int16](), "[]int32": codecFor[[]int32](), "[]int64": codecFor[[]int64](),
		"[]uint16": codecFor[[]uint16](), "[]uint32": codecFor[[]uint32](), "[]uint64": codecFor[[]uint64](),
		"[]float32": codecFor[[]float32](), "[]float64": codecFor[[]float64](),
	}
})

// codecFor returns the codec of T's kind.
func codecFor[T any]() codec {
	c := wire.CodecOf[T]()
	value := func(text []byte) ([]byte, error) {
		v, err := c.DecodeJSON(text)
		if err != nil {
			return nil, err
		}
		return c.Append(nil, v)
	}
	return codec{
		value: value,
		pack: func(texts [][]byte) ([]byte, error) {
			values := make([][]byte, len(texts))
			for i, text := range texts {
				var err error
				if values[i], err = value(text); err != nil {
					return nil, fmt.Errorf("%.60s as %s: %w", text, c.Kind, err)
				}
			}
			if c.Fixed() {
				return bytes.Join(values, nil), nil
			}
			return Column(values, c.Aligned()), nil
		},
		split: func(packed []byte, n int) ([][]byte, error) {
			if c.Fixed() {
				return splitFixed(packed, n, wire.KindWidth(c.Kind))
			}
			return splitColumn(packed, n, c.Aligned())
		},
	}
}

// Column packs values of varying length into one column. aligned is as for [wire.ColumnWriter.Reset].
func Column(values [][]byte, aligned bool) []byte {
	var w wire.ColumnWriter
	w.Reset(aligned)
	for _, v := range values {
		w.End(append(w.Begin(), v...))
	}
	return w.Bytes()
}

func splitFixed(packed []byte, n, width int) ([][]byte, error) {
	if len(packed) != n*width {
		return nil, fmt.Errorf("%d values of %d bytes take %d bytes, got %d", n, width, n*width, len(packed))
	}
	values := make([][]byte, n)
	for i := range values {
		values[i] = packed[i*width : (i+1)*width]
	}
	return values, nil
}

func splitColumn(packed []byte, n int, aligned bool) ([][]byte, error) {
	c, err := wire.OpenColumn(packed, n, aligned)
	if err != nil {
		return nil, err
	}
	values := make([][]byte, n)
	for i := range values {
		values[i] = c.Next()
	}
	return values, nil
}

// splitKind splits a packed column of any kind, including kinds of proto messages.
func splitKind(kind string, packed []byte, n int) ([][]byte, error) {
	if c, ok := codecs()[kind]; ok {
		return c.split(packed, n)
	}
	return splitColumn(packed, n, strings.HasPrefix(kind, "[]"))
}

// sameJSON reports whether two JSON texts have the same value. The order of fields and white space make no difference.
func sameJSON(a, b []byte) bool {
	if bytes.Equal(a, b) {
		return true
	}
	x, errX := parse(a)
	y, errY := parse(b)
	return errX == nil && errY == nil && reflect.DeepEqual(x, y)
}

func parse(text []byte) (v any, err error) {
	err = json.Unmarshal(text, &v)
	return v, err
}
