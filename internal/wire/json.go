package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"unicode/utf8"
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
		if at := notUTF8(src); at < len(src) {
			return *new(T), &TextError{Offset: at + 1, Message: fmt.Sprintf("byte %#x is no UTF-8", src[at])}
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

// ValidText reports whether src is one JSON text in UTF-8 without line breaks, as a plugin must return it. encoding/json takes any bytes in a
// string.
func ValidText(src []byte) bool {
	if n, ok := cutNumber(src); ok && n == len(src) {
		return true
	}
	return bytes.IndexByte(src, '\n') < 0 && bytes.IndexByte(src, '\r') < 0 && utf8.Valid(src) && json.Valid(src)
}

// notUTF8 returns the place of the first byte that is no UTF-8, or the length of src.
func notUTF8(src []byte) int {
	for at := 0; at < len(src); {
		r, n := utf8.DecodeRune(src[at:])
		if r == utf8.RuneError && n == 1 {
			return at
		}
		at += n
	}
	return len(src)
}
