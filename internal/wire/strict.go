package wire

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"time"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	jsonv1 "github.com/go-json-experiment/json/v1"
)

// strict is how JSON texts are read: what cannot be kept as it came is refused. A field that the type does not have is most likely a typing
// error, and one that goes unnoticed costs more than one that is refused. How Go types look in JSON is encoding/json's affair, which
// writes them.
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

// Options for types, or texts, that need a look at each value.
var (
	exact = jsonv2.JoinOptions(strict, jsonv2.WithUnmarshalers(jsonv2.UnmarshalFromFunc(readExactly)))
	// encoding/json's words for what is wrong. It also puts up with field tags that are no good.
	wordy      = jsonv1.ReportErrorsWithLegacySemantics(true)
	wordyExact = jsonv2.JoinOptions(exact, wordy)
)

var null = []byte("null")

// unmarshalJSON reads one JSON text strictly.
func unmarshalJSON[T any](src []byte) (v T, err error) {
	opts := strict
	if traitsOf(reflect.TypeFor[T]()).open || bytes.Contains(src, null) {
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

// readExactly reads what the decoder would change: a null where the type has none, and numbers into interfaces and [json.Number]. It leaves
// everything else to the decoder.
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
		case kind == '"' && parent == '{' && n%2 == 0: // the name of a field
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
	case kind == '"' && isQuotedNull(d, target.Kind()): // a field with the option "string"
		return &nullError{target.Type()}
	case target.Kind() == reflect.Interface && target.NumMethod() == 0: // one that has a name
		v, err := readAny(d)
		if err == nil {
			target.Set(reflect.ValueOf(v))
		}
		return err
	default:
		return errors.ErrUnsupported
	}
}

// readAny reads a value into an interface. A number keeps its text.
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
			key := name.String() // before the next token
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

// nullError says that a type has no null.
type nullError struct{ t reflect.Type }

func (e *nullError) Error() string { return fmt.Sprintf("got a JSON null, want %s", e.t) }

// readNull reads a null, which encoding/json leaves unread, so that a value that has no null would become zero. A type that reads its own
// text decides itself; but if it also writes null as something else, as [time.Time] does, the null would be lost.
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

// isQuotedNull reports whether the next value is the string "null" for a number or a bool, which encoding/json takes for a null.
func isQuotedNull(d *jsontext.Decoder, kind reflect.Kind) bool {
	if kind != reflect.Bool && (kind < reflect.Int || kind > reflect.Float64) {
		return false
	}
	rest := bytes.TrimLeft(d.UnreadBuffer(), " \t\r\n:,")
	return bytes.HasPrefix(rest, []byte(`"null"`))
}

// traits is what the JSON text of a type's values can hold.
type traits struct {
	open  bool // interfaces or numbers as texts, which have to be read one by one
	loose bool // what the type does not vouch for: texts of its own making, any depth
}

var knownTraits sync.Map // by type

func traitsOf(t reflect.Type) traits {
	if known, ok := knownTraits.Load(t); ok {
		return known.(traits)
	}
	var found traits
	found.collect(t, map[reflect.Type]bool{})
	knownTraits.Store(t, found)
	return found
}

// collect adds the traits of t. seen holds the types that have been looked at; true means that t is part of them.
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

// writesOwn reports whether values of t write their own JSON text.
func writesOwn(t reflect.Type) bool {
	for _, own := range []reflect.Type{reflect.TypeFor[json.Marshaler](), reflect.TypeFor[encoding.TextMarshaler]()} {
		if t.Implements(own) || reflect.PointerTo(t).Implements(own) {
			return true
		}
	}
	return false
}
