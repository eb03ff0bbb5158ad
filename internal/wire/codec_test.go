package wire_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"testing/quick"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/parhost/parhost/internal/wire"
)

type (
	celsius  float64
	rank     int16
	word     string
	blob     []byte
	grades   []rank
	point    struct{ X, Y int }
	shout    string   // writes its own JSON
	inverted int      // reads and writes its own text
	marked   []int32  // a slice type that writes its own JSON
	nested   struct { // has fields of many types
		Name  string `json:"name"`
		Deep  []point
		Bytes []byte
		Any   map[string]any
		Maybe *int
	}
)

func (s shout) MarshalJSON() ([]byte, error) { return json.Marshal(strings.ToUpper(string(s))) }

func (i inverted) MarshalText() ([]byte, error) { return strconv.AppendInt(nil, int64(-i), 10), nil }

func (i *inverted) UnmarshalText(b []byte) error {
	n, err := strconv.Atoi(string(b))
	*i = inverted(-n)
	return err
}

func (marked) MarshalJSON() ([]byte, error) { return []byte(`"marked"`), nil }

func (m *marked) UnmarshalJSON([]byte) error { *m = marked{7}; return nil }

// trips checks one codec: its kind, and that values survive being packed and being written as JSON.
type trips interface{ check(t *testing.T) }

type trip[T any] struct {
	kind   string
	values []T
	noJSON []T // values that can only be packed, because JSON cannot express them
}

func (c trip[T]) check(t *testing.T) {
	t.Helper()
	codec := wire.CodecOf[T]()
	if codec.Kind != c.kind {
		t.Fatalf("kind of %T: got %q, want %q", *new(T), codec.Kind, c.kind)
	}
	if !wire.KnownKind(codec.Kind) {
		t.Errorf("kind %q: KnownKind says no", codec.Kind)
	}
	if got, want := codec.Fixed(), wire.KindWidth(c.kind) > 0; got != want {
		t.Errorf("Fixed of kind %q: got %v, want %v", c.kind, got, want)
	}
	same := func(how string, got, want T) {
		t.Helper()
		if d := cmp.Diff(want, got, protocmp.Transform(), cmp.Comparer(func(a, b float64) bool { return math.Float64bits(a) == math.Float64bits(b) })); d != "" {
			t.Errorf("%s of %v changed it (-want +got):\n%s", how, want, d)
		}
	}
	prefix := []byte("before: ")
	for _, v := range append(append([]T(nil), c.values...), c.noJSON...) {
		packed, err := codec.Append(prefix, v)
		if err != nil {
			t.Fatalf("packing %v: got the error %v", v, err)
		}
		if !strings.HasPrefix(string(packed), string(prefix)) {
			t.Fatalf("packing %v overwrote what was there: got %q", v, packed)
		}
		got, err := codec.Decode(packed[len(prefix):])
		if err != nil {
			t.Fatalf("unpacking %v: got the error %v", v, err)
		}
		same("packing", got, v)
	}
	for _, v := range c.values {
		text, err := codec.AppendJSON(prefix, v)
		if err != nil {
			t.Fatalf("JSON of %v: got the error %v", v, err)
		}
		text = text[len(prefix):]
		if !wire.ValidText(text) {
			t.Errorf("JSON of %v: got %q, want one line of JSON", v, text)
		}
		got, err := codec.DecodeJSON(text)
		if err != nil {
			t.Fatalf("reading %q: got the error %v", text, err)
		}
		same("JSON", got, v)
	}
}

func TestValuesOfEveryKindSurviveBothWays(t *testing.T) {
	three := 3
	for name, c := range map[string]trips{
		"float64":           trip[float64]{"float64", []float64{0, -1.5, math.MaxFloat64, math.SmallestNonzeroFloat64, math.Copysign(0, -1)}, []float64{math.Inf(1), math.Inf(-1)}},
		"float32":           trip[float32]{"float32", []float32{0, 0.1, math.MaxFloat32}, nil},
		"int":               trip[int]{"int64", []int{0, math.MinInt, math.MaxInt}, nil},
		"int8":              trip[int8]{"int8", []int8{-128, 127}, nil},
		"int16":             trip[int16]{"int16", []int16{-32768, 32767}, nil},
		"int32":             trip[int32]{"int32", []int32{math.MinInt32, math.MaxInt32}, nil},
		"int64":             trip[int64]{"int64", []int64{math.MinInt64, math.MaxInt64}, nil},
		"uint":              trip[uint]{"uint64", []uint{0, math.MaxUint}, nil},
		"uint8":             trip[uint8]{"uint8", []uint8{0, 255}, nil},
		"uint16":            trip[uint16]{"uint16", []uint16{0, 65535}, nil},
		"uint32":            trip[uint32]{"uint32", []uint32{0, math.MaxUint32}, nil},
		"uint64":            trip[uint64]{"uint64", []uint64{0, math.MaxUint64}, nil},
		"named float":       trip[celsius]{"float64", []celsius{36.6}, nil},
		"named int":         trip[rank]{"int16", []rank{-3}, nil},
		"duration":          trip[time.Duration]{"int64", []time.Duration{time.Second}, nil},
		"string":            trip[string]{"string", []string{"", "a\nb", "grüße <&>", "\u2028"}, []string{"\xff\x00"}},
		"named string":      trip[word]{"string", []word{"w"}, nil},
		"bytes":             trip[[]byte]{"bytes", []([]byte){[]byte("\x00\xff\n"), {}}, nil},
		"named bytes":       trip[blob]{"bytes", []blob{blob("x")}, nil},
		"slice of float64":  trip[[]float64]{"[]float64", [][]float64{{}, {1}, {1, 2, 3}}, [][]float64{{math.Inf(1)}}},
		"slice of int8":     trip[[]int8]{"[]int8", [][]int8{{-1, 2, 3}}, nil},
		"slice of ints":     trip[[]int]{"[]int64", [][]int{{math.MinInt, 5}}, nil},
		"named slice":       trip[grades]{"[]int16", []grades{{1, -2, 3}}, nil},
		"bool":              trip[bool]{"json", []bool{true, false}, nil},
		"struct":            trip[point]{"json", []point{{1, -2}}, nil},
		"pointer":           trip[*point]{"json", []*point{{1, 2}, nil}, nil},
		"deep struct":       trip[nested]{"json", []nested{{Name: "<n>", Deep: []point{{1, 2}}, Bytes: []byte{1}, Any: map[string]any{"k": []any{json.Number("1.50"), nil, "s"}}, Maybe: &three}}, nil},
		"any":               trip[any]{"json", []any{nil, json.Number("9007199254740993"), "s", []any{true}}, nil},
		"slice of strings":  trip[[]string]{"json", [][]string{{"a", ""}}, nil},
		"raw JSON":          trip[json.RawMessage]{"json", []json.RawMessage{json.RawMessage(`{"a":[1,2]}`), json.RawMessage("1e5")}, nil},
		"own JSON":          trip[shout]{"json", []shout{"LOUD"}, nil},
		"own text":          trip[inverted]{"json", []inverted{-5, 9}, nil},
		"slice of own text": trip[[]inverted]{"json", [][]inverted{{1, 2}}, nil},
		"slice, own JSON":   trip[marked]{"json", []marked{{7}}, nil},
		"time":              trip[time.Time]{"json", []time.Time{time.Date(2024, 2, 29, 1, 2, 3, 4, time.UTC)}, nil},
		"proto wrapper":     trip[*wrapperspb.DoubleValue]{"proto:google.protobuf.DoubleValue", []*wrapperspb.DoubleValue{wrapperspb.Double(1.5), {}}, nil},
		"proto struct": trip[*structpb.Struct]{"proto:google.protobuf.Struct", []*structpb.Struct{{Fields: map[string]*structpb.Value{
			"list": structpb.NewListValue(&structpb.ListValue{Values: []*structpb.Value{structpb.NewNumberValue(1), structpb.NewStringValue("a, b")}}),
		}}}, nil},
	} {
		t.Run(name, c.check)
	}
}

func TestEveryTypeHasACodec(t *testing.T) {
	for name, kind := range map[string]string{
		"proto.Message":  wire.CodecOf[proto.Message]().Kind, // an interface: it does not say what to decode into
		"json.Marshaler": wire.CodecOf[json.Marshaler]().Kind,
		"error":          wire.CodecOf[error]().Kind,
		"chan":           wire.CodecOf[chan int]().Kind,
		"struct{}":       wire.CodecOf[struct{}]().Kind,
	} {
		if kind != wire.KindJSON {
			t.Errorf("kind of %s: got %q, want json", name, kind)
		}
	}
}

// The texts of numbers must be the same bytes as those of encoding/json, because results of the modes are compared by their texts.
func TestNumbersHaveTheTextsOfEncodingJSON(t *testing.T) {
	f64, f32 := wire.CodecOf[float64](), wire.CodecOf[float32]()
	i64, i8, u16, u64 := wire.CodecOf[int64](), wire.CodecOf[int8](), wire.CodecOf[uint16](), wire.CodecOf[uint64]()
	agrees := func(v any, text []byte, err error) bool {
		want, wantErr := json.Marshal(v)
		if (err == nil) != (wantErr == nil) || err == nil && string(text) != string(want) {
			t.Logf("JSON of %v: got %q, %v, want %q, %v", v, text, err, want, wantErr)
			return false
		}
		return true
	}
	for name, f := range map[string]any{
		"float64 by value": func(v float64) bool { b, err := f64.AppendJSON(nil, v); return agrees(v, b, err) },
		"float64 by bits": func(bits uint64) bool {
			v := math.Float64frombits(bits)
			b, err := f64.AppendJSON(nil, v)
			return agrees(v, b, err)
		},
		"float64 round the exponents": func(m int16, e int8) bool {
			v := float64(m) * math.Pow(10, float64(e)/4)
			b, err := f64.AppendJSON(nil, v)
			return agrees(v, b, err)
		},
		"float32 by bits": func(bits uint32) bool {
			v := math.Float32frombits(bits)
			b, err := f32.AppendJSON(nil, v)
			return agrees(v, b, err)
		},
		"int64":  func(v int64) bool { b, err := i64.AppendJSON(nil, v); return agrees(v, b, err) },
		"int8":   func(v int8) bool { b, err := i8.AppendJSON(nil, v); return agrees(v, b, err) },
		"uint16": func(v uint16) bool { b, err := u16.AppendJSON(nil, v); return agrees(v, b, err) },
		"uint64": func(v uint64) bool { b, err := u64.AppendJSON(nil, v); return agrees(v, b, err) },
	} {
		t.Run(name, func(t *testing.T) {
			if err := quick.Check(f, &quick.Config{MaxCount: 5000}); err != nil {
				t.Error(err)
			}
		})
	}
}

// textError reads a JSON text as a T, and returns the place and the message of the error, or 0 and "" if there is none.
func textError[T any](text string) (offset int, message string) {
	codec := wire.CodecOf[T]()
	_, err := codec.DecodeJSON([]byte(text))
	if err == nil {
		return 0, ""
	}
	if e, ok := errors.AsType[*wire.TextError](err); ok {
		return e.Offset, e.Message
	}
	return -1, err.Error()
}

func TestJSONIsReadStrictlyAndErrorsSayWhere(t *testing.T) {
	for name, c := range map[string]struct {
		read   func(string) (int, string)
		text   string
		offset int
		says   string
	}{
		"nothing":                   {textError[float64], "", 1, "no JSON value"},
		"blanks":                    {textError[point], " \t", 1, "no JSON value"},
		"a word":                    {textError[float64], "abc", 1, "invalid character 'a'"},
		"infinity":                  {textError[float64], "inf", 1, "invalid character 'i'"},
		"hexadecimal":               {textError[float64], "0x10", 2, "invalid character 'x' after the value"},
		"a plus":                    {textError[float64], "+1", 1, "invalid character '+'"},
		"a leading zero":            {textError[float64], "01", 2, "after the value"},
		"two values":                {textError[int], "1 2", 3, `invalid character '2' after the value`},
		"a string for a number":     {textError[float64], `"7"`, 3, "got a JSON string, want float64"},
		"a fraction for an int":     {textError[int], "1.5", 3, "got a JSON number 1.5, want int"},
		"too large for int8":        {textError[int8], "300", 3, "got a JSON number 300, want int8"},
		"too large for float64":     {textError[float64], "1e999", 5, "got a JSON number 1e999, want float64"},
		"an unknown field":          {textError[point], `{"X":1,"Z":2}`, 8, `unknown field "Z"`},
		"the wrong kind in a field": {textError[point], `{"X":"a"}`, 8, `got a JSON string, want int in field "X"`},
		"a torn object":             {textError[point], `{"X":1`, 7, "unexpected end"},
		"a line break in a string":  {textError[string], "\"a\nb\"", 3, "invalid character '\\n' in string literal"},
		"raw, torn":                 {textError[json.RawMessage], `[1,`, 4, "unexpected end"},
		"raw, two":                  {textError[json.RawMessage], `{} {}`, 4, "after the value"},
	} {
		t.Run(name, func(t *testing.T) {
			offset, message := c.read(c.text)
			if !strings.Contains(message, c.says) {
				t.Errorf("reading %q: got the error %q, want %q", c.text, message, c.says)
			}
			if offset != c.offset {
				t.Errorf("reading %q: the error is at byte %d, want %d", c.text, offset, c.offset)
			}
		})
	}
}

func TestBlanksRoundAValueDoNotMatter(t *testing.T) {
	if offset, message := textError[float64](" \n1.5\t"); message != "" {
		t.Errorf("reading a number between blanks: got the error %q at byte %d, want none", message, offset)
	}
	if _, message := textError[point](" {\"X\" : 1}\n"); message != "" {
		t.Errorf("reading an object between blanks: got the error %q, want none", message)
	}
}

func TestRawJSONTravelsOnOneLine(t *testing.T) {
	codec := wire.CodecOf[json.RawMessage]()
	for name, c := range map[string]struct {
		text json.RawMessage
		want string
	}{
		"on one line":           {json.RawMessage(`{"a": 1}`), `{"a": 1}`},
		"on several":            {json.RawMessage("{\n  \"a\": [\n1\n]\n}\n"), `{"a":[1]}`},
		"nil, as in a struct":   {nil, "null"},
		"not JSON, not our job": {json.RawMessage("{"), "{"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := codec.Append(nil, c.text)
			if err != nil || string(got) != c.want {
				t.Errorf("packing %q: got %q, %v, want %q", c.text, got, err, c.want)
			}
		})
	}
	_, err := codec.Append(nil, json.RawMessage("[1,\n}"))
	if e, ok := errors.AsType[*wire.TextError](err); !ok || e.Offset != 5 {
		t.Errorf("packing a torn text of two lines: got %#v, want a TextError at byte 5", err)
	}
}

// protojson deliberately adds white space that changes from build to build.
func TestProtoTextsAreTheSameInEveryBuild(t *testing.T) {
	codec := wire.CodecOf[*structpb.ListValue]()
	list := &structpb.ListValue{Values: []*structpb.Value{structpb.NewNumberValue(1), structpb.NewNumberValue(2)}}
	got, err := codec.AppendJSON(nil, list)
	if err != nil || string(got) != "[1,2]" {
		t.Errorf("JSON of a proto list: got %q, %v, want [1,2]", got, err)
	}
}

func TestValuesThatCannotBeWrittenAreErrors(t *testing.T) {
	floats, structs := wire.CodecOf[float64](), wire.CodecOf[map[string]float64]()
	for name, err := range map[string]error{
		"JSON of infinity":      second(floats.AppendJSON(nil, math.Inf(1))),
		"JSON of no number":     second(floats.AppendJSON(nil, math.NaN())),
		"infinity in an object": second(structs.Append(nil, map[string]float64{"a": math.Inf(1)})),
	} {
		if err == nil {
			t.Errorf("%s: got no error, want one", name)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func TestSlicesAreReadInPlaceWhereTheyLieRight(t *testing.T) {
	codec := wire.CodecOf[[]float64]()
	packed, err := codec.Append(make([]byte, 0, 64), []float64{1, 2, 3})
	if err != nil {
		t.Fatal(err)
	}
	got, err := codec.Decode(packed)
	if err != nil {
		t.Fatal(err)
	}
	if reflect.ValueOf(got).Pointer() != reflect.ValueOf(packed).Pointer() {
		t.Error("decoding an aligned slice: got a copy, want the same memory")
	}
	crooked := append(make([]byte, 1, 64), packed...)[1:]
	got, err = codec.Decode(crooked)
	if d := cmp.Diff([]float64{1, 2, 3}, got); err != nil || d != "" {
		t.Errorf("decoding a slice at an odd address: %v (-want +got):\n%s", err, d)
	}
	if _, err := codec.Decode(packed[:9]); err == nil {
		t.Error("decoding 9 bytes as float64s: got no error, want one")
	}
}

func TestKinds(t *testing.T) {
	for kind, known := range map[string]bool{
		"float64": true, "[]int32": true, "json": true, "string": true, "bytes": true, "proto:a.B": true,
		"": false, "proto:": false, "[]": false, "[]string": false, "[][]int8": false, "int128": false, "JSON": false,
	} {
		if got := wire.KnownKind(kind); got != known {
			t.Errorf("KnownKind(%q): got %v, want %v", kind, got, known)
		}
	}
}

func TestNullIsAValueOnlyWhereTheTypeHasOne(t *testing.T) {
	if _, err := decodeText[float64]("null"); err == nil {
		t.Error("null as a number: got no error, want one")
	}
	if _, err := decodeText[struct{ A int }](" null "); err == nil {
		t.Error("null as a struct: got no error, want one")
	}
	if v, err := decodeText[*int]("null"); err != nil || v != nil {
		t.Errorf("null as a pointer: got %v, %v, want nil", v, err)
	}
}

func TestRawTextsAreOneLine(t *testing.T) {
	got, err := decodeText[json.RawMessage]("[1,\n 2]\r\n")
	if err != nil || string(got) != "[1,2]" {
		t.Errorf("a text of two lines: got %q, %v, want one line", got, err)
	}
}

func decodeText[T any](text string) (T, error) {
	codec := wire.CodecOf[T]()
	return codec.DecodeJSON([]byte(text))
}

// FuzzDecodeJSONNumber compares the fast paths for numbers with encoding/json.
func FuzzDecodeJSONNumber(f *testing.F) {
	for _, s := range []string{
		"0", "-0", "1e5", "01", "1.", ".5", "+1", "inf", "0x1p-2", "1_000", "1e999", " 7 ", "NaN", "-", "1e-400", "\"1\"", "null",
		"0.1", "-0.30", "00.5", "1.2.3", "-.5", "123456789012345", "1234567890123456", "9007199254740993", "0.00000000000001", "1.23456789012345",
		"127", "128", "-129", "255", "256", "65536", "4294967296", "9223372036854775808", "18446744073709551615", "18446744073709551616", "3.5e38",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		readAsEncodingJSON[float64](t, text)
		readAsEncodingJSON[float32](t, text)
		readAsEncodingJSON[int](t, text)
		readAsEncodingJSON[int8](t, text)
		readAsEncodingJSON[int16](t, text)
		readAsEncodingJSON[int32](t, text)
		readAsEncodingJSON[int64](t, text)
		readAsEncodingJSON[uint8](t, text)
		readAsEncodingJSON[uint16](t, text)
		readAsEncodingJSON[uint32](t, text)
		readAsEncodingJSON[uint64](t, text)
	})
}

func readAsEncodingJSON[T any](t *testing.T, text []byte) {
	t.Helper()
	var want T
	wantErr := json.Unmarshal(text, &want)
	if string(bytes.TrimSpace(text)) == "null" {
		wantErr = errors.New("null is no number") // encoding/json would leave a zero
	}
	codec := wire.CodecOf[T]()
	got, err := codec.DecodeJSON(text)
	if (err == nil) != (wantErr == nil) {
		t.Fatalf("reading %q as %T: got the error %v, encoding/json says %v", text, want, err, wantErr)
	}
	if err == nil && fmt.Sprint(got) != fmt.Sprint(want) { // by text, because 0 and -0 compare as equal
		t.Fatalf("reading %q as %T: got %v, encoding/json says %v", text, want, got, want)
	}
	if e, ok := errors.AsType[*wire.TextError](err); err != nil && (!ok || e.Offset < 1 || e.Offset > len(text)+1) {
		t.Fatalf("reading %q as %T: got the error %#v, want a TextError at a byte of the text", text, want, err)
	}
}

// Most numbers that people use have few digits, unlike random bits.
func TestShortDecimalsAreReadAndWrittenAsByEncodingJSON(t *testing.T) {
	codec := wire.CodecOf[float64]()
	rng := rand.New(rand.NewPCG(1, 2))
	for range 200_000 {
		digits := strconv.FormatUint(rng.Uint64N(1+uint64(math.Pow10(rng.IntN(17)))), 10)
		if point := rng.IntN(2 * len(digits)); point > 0 && point < len(digits) {
			digits = digits[:point] + "." + digits[point:]
		} else if rng.IntN(4) == 0 {
			digits = "0." + digits
		}
		if rng.IntN(2) == 0 {
			digits = "-" + digits
		}
		var want float64
		if err := json.Unmarshal([]byte(digits), &want); err != nil {
			t.Fatal(err)
		}
		got, err := codec.DecodeJSON([]byte(digits))
		if err != nil || math.Float64bits(got) != math.Float64bits(want) {
			t.Fatalf("reading %s: got %v, %v, encoding/json says %v", digits, got, err, want)
		}
		wantText, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		if text, err := codec.AppendJSON(nil, want); err != nil || string(text) != string(wantText) {
			t.Fatalf("writing %v: got %s, %v, encoding/json says %s", want, text, err, wantText)
		}
	}
}

func TestATextThatIsNoUTF8IsNoJSON(t *testing.T) {
	codec := wire.CodecOf[json.RawMessage]()
	for text, offset := range map[string]int{"\"a\xff\"": 3, "[\n\"\xc2\x9b\", \"\xe2\x28\"]": 10} {
		for way, decode := range map[string]func([]byte) (json.RawMessage, error){"packed": codec.Decode, "JSON": codec.DecodeJSON} {
			got, err := decode([]byte(text))
			if e, ok := errors.AsType[*wire.TextError](err); !ok || e.Offset != offset {
				t.Errorf("%s, %q: got %q, %v, want a TextError at byte %d", way, text, got, err, offset)
			}
		}
	}
}

func FuzzValidText(f *testing.F) {
	for _, s := range []string{"1", "[1,\n2]", `{"a":"b"}`, "", "\"\n\"", "01", "-", "nul", "0\r", "\"\xff\"", `"\ud800"`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		want := jsontext.Value(text).IsValid() && json.Valid(text) && utf8.Valid(text) && !bytes.Contains(text, []byte("\r")) && !bytes.Contains(text, []byte("\n"))
		if got := wire.ValidText(text); got != want {
			t.Fatalf("ValidText(%q): got %v, want %v", text, got, want)
		}
	})
}

func ExampleCodecOf() {
	floats := wire.CodecOf[[]float32]()
	fmt.Println(floats.Kind)
	// Output: []float32
}

type readsItself struct{ X int }

func (r *readsItself) UnmarshalJSON(text []byte) error { return json.Unmarshal(text, &r.X) }

func TestCallsIsForMethodsOfTheCaller(t *testing.T) {
	for name, c := range map[string]struct {
		got, want bool
	}{
		"a number": {calls[float64](), false},
		"a struct": {calls[struct{ A []map[string]int }](), false},
		"any":      {calls[any](), false},
		"a text":   {calls[json.RawMessage](), false},
		"the standard library's": {calls[struct {
			T *time.Time
			I big.Int
			N []*big.Int
		}](), false},
		"the caller's":                  {calls[readsItself](), true},
		"a pointer to it":               {calls[*readsItself](), true},
		"within a map of slices of one": {calls[map[string][]struct{ R *readsItself }](), true},
	} {
		if c.got != c.want {
			t.Errorf("%s: got %v, want %v", name, c.got, c.want)
		}
	}
}

func calls[T any]() bool {
	c := wire.CodecOf[T]()
	return c.Calls()
}
