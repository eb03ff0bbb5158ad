package wire

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"time"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	jsonv1 "github.com/go-json-experiment/json/v1"
)

// strict are the options for reading JSON texts. A text is refused if its value could not be kept unchanged. A field that the type does not have is
// most likely a typing error, and a typing error that goes unnoticed costs more than one that is refused. Otherwise Go types have the JSON forms of
// encoding/json, which writes them.
var strict = jsonv2.JoinOptions(
	jsonv1.DefaultOptionsV1(),
	jsontext.AllowDuplicateNames(false),
	jsontext.AllowInvalidUTF8(false),
	jsonv2.MatchCaseInsensitiveNames(false),
	jsonv2.RejectUnknownMembers(true),
	jsonv1.UnmarshalArrayFromAnyLength(false),
	jsonv1.ParseBytesWithLooseRFC4648(false),
	jsonv1.ParseTimeWithLooseRFC3339(false),
	jsonv1.ReportErrorsWithLegacySemantics(false),
)

// Options for types or texts whose values need to be examined one by one.
var (
	exact = jsonv2.JoinOptions(strict, jsonv2.WithUnmarshalers(jsonv2.UnmarshalFromFunc(readExactly)))
	// wordy gives encoding/json's error texts. It also accepts invalid field tags.
	wordy      = jsonv1.ReportErrorsWithLegacySemantics(true)
	wordyExact = jsonv2.JoinOptions(exact, wordy)
)

var null = []byte("null")

// unmarshalJSON reads one JSON text strictly. open is the trait of T.
func unmarshalJSON[T any](src []byte, open bool) (v T, err error) {
	opts := strict
	if open || bytes.Contains(src, null) {
		opts = exact
	}
	if err = jsonv2.Unmarshal(src, &v, opts); err == nil {
		return v, nil
	}
	var again T
	first := jsonv2.Unmarshal(src, &again, wordyExact)
	if first == nil {
		return again, nil
	}
	return v, textError(src, err, first)
}

// readExactly reads values that the decoder would change: a null for a type that has none, and numbers into interfaces and [json.Number]. For all
// other values it returns [errors.ErrUnsupported], which leaves them to the decoder.
func readExactly(d *jsontext.Decoder, p any) error {
	kind := d.PeekKind()
	switch p := p.(type) {
	case *any:
		if kind == 'n' {
			return errors.ErrUnsupported
		}
		v, err := readAny(d)
		*p = v
		return err
	case *json.Number:
		switch parent, n := d.StackIndex(d.StackDepth()); {
		case kind == '"' && parent == '{' && n%2 == 0: // a key of an object
			return errors.ErrUnsupported
		case kind == '"':
			return errors.New("got a JSON string, want a number")
		case kind == '0':
			text, err := d.ReadValue()
			*p = json.Number(text)
			return err
		}
	}
	target := reflect.ValueOf(p).Elem()
	switch {
	case kind == 'n':
		return readNull(d, p, target)
	case kind == '"' && isQuotedNull(d, target.Kind()): // a field with the tag option "string"
		return &nullError{target.Type()}
	case target.Kind() == reflect.Interface && target.NumMethod() == 0: // a named empty interface type
		v, err := readAny(d)
		if err == nil {
			target.Set(reflect.ValueOf(v))
		}
		return err
	default:
		return errors.ErrUnsupported
	}
}

// readAny reads a value into an interface. Numbers become [json.Number], which keeps their text.
func readAny(d *jsontext.Decoder) (any, error) {
	t, err := d.ReadToken()
	if err != nil {
		return nil, err
	}
	switch t.Kind() {
	case 't', 'f':
		return t.Bool(), nil
	case '"':
		return t.String(), nil
	case '0':
		return json.Number(t.String()), nil
	case '[':
		list := []any{}
		for d.PeekKind() != ']' {
			v, err := readAny(d)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		_, err = d.ReadToken()
		return list, err
	case '{':
		object := map[string]any{}
		for d.PeekKind() != '}' {
			name, err := d.ReadToken()
			if err != nil {
				return nil, err
			}
			key := name.String() // name is invalid after the next token
			if object[key], err = readAny(d); err != nil {
				return nil, err
			}
		}
		_, err = d.ReadToken()
		return object, err
	default:
		return nil, nil
	}
}

// nullError says that a text has a null where the type has none.
type nullError struct{ t reflect.Type }

func (e *nullError) Error() string { return fmt.Sprintf("got a JSON null, want %s", e.t) }

// readNull handles a null, which encoding/json ignores, so that a type without a null would silently get its zero value. A type that reads its own
// text decides itself. But if it also writes the resulting value as something other than null, as [time.Time] does, the null would be lost, and is refused.
func readNull(d *jsontext.Decoder, p any, target reflect.Value) error {
	kind := target.Kind()
	if kind == reflect.Pointer || kind == reflect.Interface {
		return errors.ErrUnsupported
	}
	reader, reads := p.(json.Unmarshaler)
	_, readsText := p.(encoding.TextUnmarshaler)
	switch {
	case !reads && !readsText && (kind == reflect.Map || kind == reflect.Slice):
		return errors.ErrUnsupported
	case !reads:
		return &nullError{target.Type()}
	}
	if err := reader.UnmarshalJSON(null); err != nil {
		return err
	}
	if writesOwn(target.Type()) {
		if text, err := json.Marshal(p); err == nil && !bytes.Equal(text, null) {
			return &nullError{target.Type()}
		}
	}
	return d.SkipValue()
}

// isQuotedNull reports whether the next value is the string "null" for a number or a bool. encoding/json takes that string for a null.
func isQuotedNull(d *jsontext.Decoder, kind reflect.Kind) bool {
	if kind != reflect.Bool && (kind < reflect.Int || kind > reflect.Float64) {
		return false
	}
	rest := bytes.TrimLeft(d.UnreadBuffer(), " \t\r\n:,")
	return bytes.HasPrefix(rest, []byte(`"null"`))
}

// traits describes what the JSON texts of a type's values can contain.
type traits struct {
	open  bool // interfaces or json.Number, whose values have to be read one by one
	loose bool // contents that the type does not determine: texts that the values write themselves, or any depth
	calls bool // decoding calls UnmarshalJSON or UnmarshalText of a type that is not of the standard library
}

func traitsOf(t reflect.Type) traits {
	var found traits
	found.collect(t, map[reflect.Type]bool{})
	return found
}

// collect adds the traits of t. seen has the types that were visited already; true means that t lies within that type.
func (f *traits) collect(t reflect.Type, seen map[reflect.Type]bool) {
	above, known := seen[t]
	switch {
	case above:
		f.loose = true
		return
	case known:
		return
	case t == reflect.TypeFor[json.Number]():
		f.open = true
		return
	case t == reflect.TypeFor[time.Time]():
		return
	case writesOwn(t):
		f.loose = true
	}
	f.calls = f.calls || t.Kind() != reflect.Pointer && readsOwn(t) && !standard[t.PkgPath()]
	seen[t] = true
	defer func() { seen[t] = false }()
	switch t.Kind() {
	case reflect.Interface:
		f.open, f.loose = true, true
	case reflect.Map:
		f.collect(t.Key(), seen)
		f.collect(t.Elem(), seen)
	case reflect.Pointer, reflect.Slice, reflect.Array:
		f.collect(t.Elem(), seen)
	case reflect.Struct:
		for field := range t.Fields() {
			f.collect(field.Type, seen)
		}
	}
}

// standard are the packages of the standard library with types that read their own JSON text.
var standard = map[string]bool{"encoding/json": true, "encoding/json/jsontext": true, "log/slog": true, "math/big": true, "net": true, "net/netip": true, "regexp": true, "time": true}

// readsOwn reports whether values of t read their own JSON text.
func readsOwn(t reflect.Type) bool {
	for _, own := range []reflect.Type{reflect.TypeFor[json.Unmarshaler](), reflect.TypeFor[jsonv2.UnmarshalerFrom](), reflect.TypeFor[encoding.TextUnmarshaler]()} {
		if t.Implements(own) || reflect.PointerTo(t).Implements(own) {
			return true
		}
	}
	return false
}

// writesOwn reports whether values of t write their own JSON text.
func writesOwn(t reflect.Type) bool {
	for _, own := range []reflect.Type{reflect.TypeFor[json.Marshaler](), reflect.TypeFor[encoding.TextMarshaler]()} {
		if t.Implements(own) || reflect.PointerTo(t).Implements(own) {
			return true
		}
	}
	return false
}
