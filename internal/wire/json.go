package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"
	"strconv"
	"unsafe"
)

// TextError says where a JSON text stopped making sense.
type TextError struct {
	Offset  int // bytes from 1; 0 means unknown
	Message string
}

func (e *TextError) Error() string { return e.Message }

// marshalJSON appends v's JSON text as encoding/json writes it, but leaves <, > and & alone.
func marshalJSON[T any](dst []byte, v T) ([]byte, error) {
	b := bytes.NewBuffer(dst)
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return dst, err
	}
	return b.Bytes()[:b.Len()-1], nil // Encode ends with a line break
}

// unmarshalJSON reads one JSON text strictly: a field that the type does not have is most likely a typing error, and one that
// goes unnoticed costs more than one that is refused.
func unmarshalJSON[T any](src []byte) (v T, err error) {
	d := json.NewDecoder(bytes.NewReader(src))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		return v, textError(src, err, d.InputOffset())
	}
	if string(bytes.TrimSpace(src)) == "null" && !takesNull(reflect.TypeFor[T]()) {
		return v, &TextError{Offset: 1, Message: fmt.Sprintf("got a JSON null, want %s", reflect.TypeFor[T]())}
	}
	if rest := bytes.TrimLeft(src[d.InputOffset():], " \t\r\n"); len(rest) > 0 {
		return v, &TextError{Offset: len(src) - len(rest) + 1, Message: fmt.Sprintf("invalid character %q after the value", rest[0])}
	}
	return v, nil
}

// takesNull reports whether null is a value of t. encoding/json leaves any value as it is at a null, which would make it zero.
func takesNull(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Pointer, reflect.Interface, reflect.Map, reflect.Slice:
		return true
	default:
		return hasOwnText(t)
	}
}

// textError puts the place into the words of encoding/json, which keeps it in a field.
func textError(src []byte, err error, at int64) *TextError {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case len(bytes.TrimSpace(src)) == 0:
		return &TextError{Offset: 1, Message: "no JSON value"}
	case errors.As(err, &syntax):
		return &TextError{Offset: max(1, int(syntax.Offset)), Message: syntax.Error()}
	case errors.As(err, &kind):
		where := ""
		if kind.Field != "" {
			where = " in field " + strconv.Quote(kind.Field)
		}
		return &TextError{Offset: max(1, int(kind.Offset)), Message: fmt.Sprintf("got a JSON %s, want %s%s", kind.Value, kind.Type, where)}
	case errors.Is(err, io.ErrUnexpectedEOF):
		return &TextError{Offset: len(src) + 1, Message: "unexpected end of JSON text"}
	default:
		message := err.Error()
		if cut, ok := bytes.CutPrefix([]byte(message), []byte("json: ")); ok {
			message = string(cut)
		}
		return &TextError{Offset: max(1, int(at)), Message: message}
	}
}

// rawCodec passes JSON texts through, on one line.
func rawCodec[T any](c *Codec[T]) {
	c.append = func(dst []byte, v T) ([]byte, error) {
		src := *(*[]byte)(unsafe.Pointer(&v))
		switch {
		case src == nil:
			return append(dst, "null"...), nil // as encoding/json has it
		case bytes.IndexByte(src, '\n') < 0:
			return append(dst, src...), nil
		default:
			return compact(dst, src)
		}
	}
	c.decode = func(src []byte) (T, error) {
		if ValidText(src) {
			return *(*T)(unsafe.Pointer(&src)), nil
		}
		if v, err := unmarshalJSON[T](src); err != nil {
			return v, err
		}
		line, err := compact(nil, src) // it has line breaks
		return *(*T)(unsafe.Pointer(&line)), err
	}
	c.appendJSON, c.decodeJSON = c.append, c.decode
}

// compact appends a JSON text without its blanks.
func compact(dst, src []byte) ([]byte, error) {
	b := bytes.NewBuffer(dst)
	if err := json.Compact(b, src); err != nil {
		if _, where := unmarshalJSON[json.RawMessage](src); where != nil { // Compact does not say
			err = where
		}
		return dst, err
	}
	return b.Bytes(), nil
}

// numberCodec gives the fixed kinds their JSON texts without encoding/json, which takes ten times as long for a number.
func numberCodec[T any](c *Codec[T], t reflect.Type) {
	switch t.Kind() {
	case reflect.Float64:
		c.appendJSON = func(dst []byte, v T) ([]byte, error) { return appendFloat(dst, *(*float64)(unsafe.Pointer(&v)), 64) }
		c.decodeJSON = func(src []byte) (T, error) {
			if n, ok := cutNumber(src); ok && n == len(src) {
				if f, err := strconv.ParseFloat(unsafe.String(unsafe.SliceData(src), n), 64); err == nil {
					return *(*T)(unsafe.Pointer(&f)), nil
				}
			}
			return unmarshalJSON[T](src)
		}
	case reflect.Float32:
		c.appendJSON = func(dst []byte, v T) ([]byte, error) {
			return appendFloat(dst, float64(*(*float32)(unsafe.Pointer(&v))), 32)
		}
	case reflect.Int64, reflect.Int:
		if t.Size() == 8 {
			c.appendJSON = func(dst []byte, v T) ([]byte, error) {
				return strconv.AppendInt(dst, *(*int64)(unsafe.Pointer(&v)), 10), nil
			}
		}
	}
	if c.width == 0 {
		return
	}
	c.append = func(dst []byte, v T) ([]byte, error) { return c.AppendFixed(dst, []T{v}), nil }
	c.decode = func(src []byte) (T, error) {
		var v [1]T
		err := c.ReadFixed(v[:], src)
		return v[0], err
	}
}

// appendFloat writes a float as encoding/json does (ECMAScript's rule for exponents), so that both ways agree.
func appendFloat(dst []byte, f float64, bits int) ([]byte, error) {
	if math.IsInf(f, 0) || math.IsNaN(f) {
		return dst, fmt.Errorf("%v has no JSON form", f)
	}
	abs := math.Abs(f)
	if abs != 0 && (bits == 64 && (abs < 1e-6 || abs >= 1e21) || bits == 32 && (float32(abs) < 1e-6 || float32(abs) >= 1e21)) {
		dst = strconv.AppendFloat(dst, f, 'e', -1, bits)
		if n := len(dst); n >= 4 && dst[n-4] == 'e' && (dst[n-3] == '-' || dst[n-3] == '+') && dst[n-2] == '0' { // e-09 → e-9
			dst[n-2] = dst[n-1]
			dst = dst[:n-1]
		}
		return dst, nil
	}
	return strconv.AppendFloat(dst, f, 'f', -1, bits), nil
}

// cutNumber returns the length of the JSON number (RFC 8259, section 6) that src begins with. strconv alone will not do: it
// also takes "inf", "0x1p-2", "+1" and "1_000".
func cutNumber(src []byte) (int, bool) {
	i := 0
	digits := func() int {
		from := i
		for i < len(src) && '0' <= src[i] && src[i] <= '9' {
			i++
		}
		return i - from
	}
	if i < len(src) && src[i] == '-' {
		i++
	}
	zero := i < len(src) && src[i] == '0'
	if n := digits(); n == 0 || zero && n > 1 {
		return 0, false
	}
	if i < len(src) && src[i] == '.' {
		i++
		if digits() == 0 {
			return 0, false
		}
	}
	if i < len(src) && (src[i] == 'e' || src[i] == 'E') {
		i++
		if i < len(src) && (src[i] == '+' || src[i] == '-') {
			i++
		}
		if digits() == 0 {
			return 0, false
		}
	}
	return i, true
}

// ValidText reports whether src is one JSON text without line breaks, as a plugin must return it.
func ValidText(src []byte) bool {
	if n, ok := cutNumber(src); ok && n == len(src) {
		return true
	}
	return bytes.IndexByte(src, '\n') < 0 && bytes.IndexByte(src, '\r') < 0 && json.Valid(src)
}
