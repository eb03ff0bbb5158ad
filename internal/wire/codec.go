package wire

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"unsafe"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// Codec encodes slices of T as columns and single values as JSON texts, and decodes both.
//
// In columns, numbers and slices of numbers have their memory layout, bytes and strings are raw, proto messages are in proto's encoding, and all
// other values are JSON.
type Codec[T any] struct {
	// Kind names the encoding, as in the manifest: "float64", "[]int32", "string", "bytes", "proto:NAME", "json".
	Kind string

	width     int           // bytes of one value if all values have the same size, else 0
	aligned   bool          // values start at multiples of 8
	unchecked bool          // a value is a text that AppendJSON does not check to be JSON
	size      func(v T) int // returns the size of the packed form; nil if the size is known only after encoding
	append    func(dst []byte, v T) ([]byte, error)
	decode    func(src []byte) (T, error)
	raw       func(v T) []byte // returns the memory of v, if that is its packed form; else nil

	appendJSON func(dst []byte, v T) ([]byte, error)
	decodeJSON func(src []byte) (T, error)

	examined sync.Once // fills found when it is first needed, so that the start of a program does not examine types that it never uses
	found    traits
}

// traits returns what the JSON texts of T can contain.
func (c *Codec[T]) traits() traits {
	c.examined.Do(func() { c.found = traitsOf(reflect.TypeFor[T]()) })
	return c.found
}

// Names of the kinds that are not numbers.
const (
	KindString = "string"
	KindBytes  = "bytes"
	KindJSON   = "json"
	kindProto  = "proto:"
)

// codecs caches the results of CodecOf by type, because examining a type takes longer than sending one item of it.
var codecs sync.Map

// CodecOf returns the codec of T. It looks only at the type, so it always succeeds.
func CodecOf[T any]() *Codec[T] {
	t := reflect.TypeFor[T]()
	if known, ok := codecs.Load(t); ok {
		return known.(*Codec[T])
	}
	c := codecOf[T](t)
	codecs.Store(t, c)
	return c
}

func codecOf[T any](t reflect.Type) *Codec[T] {
	c := &Codec[T]{Kind: KindJSON, append: marshalJSON[T], appendJSON: marshalJSON[T]}
	c.decode = func(src []byte) (T, error) { return unmarshalJSON[T](src, c.traits().open) }
	c.decodeJSON = c.decode
	switch {
	case t.Kind() == reflect.Pointer && t.Implements(reflect.TypeFor[proto.Message]()): // an interface type does not say what to decode into
		protoCodec(c, t)
	case t == reflect.TypeFor[json.RawMessage]():
		c.unchecked = true
		c.size = func(v T) int { return max(len("null"), len(*(*[]byte)(unsafe.Pointer(&v)))) }
		rawCodec(c)
	case hasOwnText(t):
	case numberKind(t) != "":
		c.Kind, c.width = numberKind(t), int(t.Size())
		numberCodec(c, t)
	case t.Kind() == reflect.String:
		c.Kind = KindString
		c.size = func(v T) int { return len(*(*string)(unsafe.Pointer(&v))) }
		c.append = func(dst []byte, v T) ([]byte, error) { return append(dst, *(*string)(unsafe.Pointer(&v))...), nil }
		c.decode = func(src []byte) (T, error) { s := string(src); return *(*T)(unsafe.Pointer(&s)), nil }
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8 && !hasOwnText(t.Elem()):
		c.Kind = KindBytes
		c.raw = func(v T) []byte { return *(*[]byte)(unsafe.Pointer(&v)) }
		c.size = func(v T) int { return len(*(*[]byte)(unsafe.Pointer(&v))) }
		c.append = func(dst []byte, v T) ([]byte, error) { return append(dst, *(*[]byte)(unsafe.Pointer(&v))...), nil }
		c.decode = func(src []byte) (T, error) { return *(*T)(unsafe.Pointer(&src)), nil }
	case t.Kind() == reflect.Slice && numberKind(t.Elem()) != "" && !hasOwnText(t.Elem()):
		c.Kind, c.aligned = "[]"+numberKind(t.Elem()), true
		sliceCodec(c, int(t.Elem().Size()))
	}
	return c
}

// Fixed reports whether all values take the same number of bytes.
func (c *Codec[T]) Fixed() bool { return c.width > 0 }

// Aligned reports whether the values of a column start at multiples of 8.
func (c *Codec[T]) Aligned() bool { return c.aligned }

// Unchecked reports whether a value is itself a JSON text, which the codec does not check.
func (c *Codec[T]) Unchecked() bool { return c.unchecked }

// Loose reports whether a JSON text that Append or AppendJSON has written may contain what DecodeJSON refuses. Check such a text with [ValidText]
// before passing it on.
func (c *Codec[T]) Loose() bool {
	return c.traits().loose && !strings.HasPrefix(c.Kind, kindProto)
}

// Calls reports whether DecodeJSON, and Decode of kind "json", may call a method that the caller wrote: UnmarshalJSON or UnmarshalText.
func (c *Codec[T]) Calls() bool {
	return c.traits().calls && !strings.HasPrefix(c.Kind, kindProto)
}

// AppendFixed appends vs to dst as a column of a fixed kind.
func (c *Codec[T]) AppendFixed(dst []byte, vs []T) []byte {
	start := len(dst)
	dst = append(dst, bytesOf(vs)...)
	swapIfBigEndian(dst[start:], c.width)
	return dst
}

// ReadFixed fills dst from a column of a fixed kind.
func (c *Codec[T]) ReadFixed(dst []T, column []byte) error {
	if len(column) != len(dst)*c.width {
		return fmt.Errorf("column of %d values of %s takes %d bytes, got %d", len(dst), c.Kind, len(dst)*c.width, len(column))
	}
	swapIfBigEndian(column, c.width)
	copy(bytesOf(dst), column)
	return nil
}

// Width returns the number of bytes of one value of a fixed kind, or 0 for other kinds.
func (c *Codec[T]) Width() int { return c.width }

// ViewFixed returns the n values of a column of a fixed kind. They share the column's memory if its alignment allows that; otherwise they are a copy.
func (c *Codec[T]) ViewFixed(column []byte, n int) ([]T, error) {
	if len(column) == n*c.width && c.fits(column) {
		return viewOf[T](column, n), nil
	}
	vs := make([]T, n)
	return vs, c.ReadFixed(vs, column)
}

// RoomFixed returns room as n values of a fixed kind, to be filled in. It returns false if room is too small or not aligned for the type.
func (c *Codec[T]) RoomFixed(room []byte, n int) ([]T, bool) {
	if n == 0 || len(room) < n*c.width || !c.fits(room) {
		return nil, false
	}
	return viewOf[T](room, n), true
}

// fits reports whether b can be used as values of a fixed kind in memory.
func (c *Codec[T]) fits(b []byte) bool {
	return !bigEndian && uintptr(unsafe.Pointer(unsafe.SliceData(b)))%uintptr(c.width) == 0
}

func viewOf[T any](b []byte, n int) []T {
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(b))), n)
}

// Measure returns the bytes that the packed values of vs take together. known is false if that can be known only by encoding them.
func (c *Codec[T]) Measure(vs []T) (size int, known bool) {
	if c.width > 0 {
		return c.width * len(vs), true
	}
	if c.size == nil {
		return 0, false
	}
	for _, v := range vs {
		size += c.size(v)
	}
	return size, true
}

// InPlace reports whether values travel as they lie in memory, so that [Codec.Raw] may be called.
func (c *Codec[T]) InPlace() bool { return c.raw != nil }

// Raw returns the memory of v, which is also its packed form. It may be called only if [Codec.InPlace] is true.
func (c *Codec[T]) Raw(v T) []byte { return c.raw(v) }

// Append appends the packed form of v to dst.
func (c *Codec[T]) Append(dst []byte, v T) ([]byte, error) { return c.append(dst, v) }

// Decode reads one packed value. The value may alias src.
func (c *Codec[T]) Decode(src []byte) (T, error) { return c.decode(src) }

// AppendJSON appends the JSON text of v to dst, without line breaks.
func (c *Codec[T]) AppendJSON(dst []byte, v T) ([]byte, error) { return c.appendJSON(dst, v) }

// DecodeJSON reads one JSON text. The value may alias src.
func (c *Codec[T]) DecodeJSON(src []byte) (T, error) { return c.decodeJSON(src) }

// bytesOf returns the memory of vs, whose element type must hold no pointers.
func bytesOf[T any](vs []T) []byte {
	if len(vs) == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(vs))), len(vs)*int(unsafe.Sizeof(vs[0])))
}

// hasOwnText reports whether values of t read or write their own JSON text, which the codec must not bypass.
func hasOwnText(t reflect.Type) bool {
	for _, own := range []reflect.Type{
		reflect.TypeFor[json.Marshaler](), reflect.TypeFor[json.Unmarshaler](),
		reflect.TypeFor[encoding.TextMarshaler](), reflect.TypeFor[encoding.TextUnmarshaler](),
	} {
		if t.Implements(own) || reflect.PointerTo(t).Implements(own) {
			return true
		}
	}
	return false
}

// numberKind names the kind of a number type by its size, so that int has the kind of int64 where both have the same size. It returns "" for other types.
func numberKind(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return fmt.Sprintf("int%d", 8*t.Size())
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return fmt.Sprintf("uint%d", 8*t.Size())
	case reflect.Float32, reflect.Float64:
		return t.Kind().String()
	default:
		return ""
	}
}

// KindWidth returns the bytes of a value of a fixed kind, or 0 for other kinds.
func KindWidth(kind string) int {
	switch kind {
	case "int8", "uint8":
		return 1
	case "int16", "uint16":
		return 2
	case "int32", "uint32", "float32":
		return 4
	case "int64", "uint64", "float64":
		return 8
	default:
		return 0
	}
}

// KnownKind reports whether this version of the protocol defines kind.
func KnownKind(kind string) bool {
	switch {
	case kind == KindString, kind == KindBytes, kind == KindJSON, KindWidth(kind) > 0:
		return true
	case strings.HasPrefix(kind, kindProto):
		return len(kind) > len(kindProto)
	default:
		return strings.HasPrefix(kind, "[]") && KindWidth(kind[2:]) > 0
	}
}

// sliceCodec reads a slice of numbers in place if its bytes are aligned for the type, and copies it otherwise.
func sliceCodec[T any](c *Codec[T], width int) {
	c.size = func(v T) int { return len(*(*[]byte)(unsafe.Pointer(&v))) * width }
	if !bigEndian {
		c.raw = func(v T) []byte {
			s := *(*[]byte)(unsafe.Pointer(&v)) // a slice header, whatever the element type is
			return unsafe.Slice(unsafe.SliceData(s), len(s)*width)
		}
	}
	c.append = func(dst []byte, v T) ([]byte, error) {
		s := *(*[]byte)(unsafe.Pointer(&v)) // a slice header, whatever the element type is
		if len(s) == 0 {
			return dst, nil
		}
		start := len(dst)
		dst = append(dst, unsafe.Slice(unsafe.SliceData(s), len(s)*width)...)
		swapIfBigEndian(dst[start:], width)
		return dst, nil
	}
	c.decode = func(src []byte) (v T, err error) {
		if len(src)%width != 0 {
			return v, fmt.Errorf("%s takes a multiple of %d bytes, got %d", c.Kind, width, len(src))
		}
		n := len(src) / width
		if n > 0 && uintptr(unsafe.Pointer(unsafe.SliceData(src)))%uintptr(width) != 0 {
			words := make([]uint64, align8(len(src))/8) // memory that is aligned for every number type
			src = append(bytesOf(words)[:0], src...)
		}
		swapIfBigEndian(src, width)
		s := unsafe.Slice(unsafe.SliceData(src), n)
		return *(*T)(unsafe.Pointer(&s)), nil
	}
}

func protoCodec[T any](c *Codec[T], t reflect.Type) {
	newMessage := func() proto.Message { return reflect.New(t.Elem()).Interface().(proto.Message) }
	c.Kind = kindProto + string(newMessage().ProtoReflect().Descriptor().FullName())
	c.append = func(dst []byte, v T) ([]byte, error) {
		return proto.MarshalOptions{}.MarshalAppend(dst, any(v).(proto.Message))
	}
	c.decode = func(src []byte) (v T, err error) {
		m := newMessage()
		if err := proto.Unmarshal(src, m); err != nil {
			return v, err
		}
		return m.(T), nil
	}
	c.appendJSON = func(dst []byte, v T) ([]byte, error) {
		text, err := protojson.MarshalOptions{}.Marshal(any(v).(proto.Message))
		if err != nil {
			return dst, err
		}
		return compact(dst, text) // protojson adds white space at random, but results are compared across modes
	}
	c.decodeJSON = func(src []byte) (v T, err error) {
		m := newMessage()
		if err := protojson.Unmarshal(src, m); err != nil {
			if malformed := CheckText(src); malformed != nil {
				return v, malformed // this error has the place
			}
			return v, err
		}
		return m.(T), nil
	}
}
