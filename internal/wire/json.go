package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
	"unsafe"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	jsonv1 "github.com/go-json-experiment/json/v1"
)

// TextError says why a JSON text was refused, and at which byte.
type TextError struct {
	Offset  int // position in bytes, from 1; 0 means unknown
	Message string
	// Refused says that the text follows JSON's grammar, but repeats a name, has half of a surrogate pair, or nests too deep.
	Refused bool
}

func (e *TextError) Error() string { return e.Message }

// replacement is what encoding/json writes for bytes of a string that are not UTF-8. It writes a real U+FFFD unescaped.
var replacement = []byte(`\ufffd`)

// marshalJSON appends the JSON text of v in encoding/json's form, but without escaping <, > and &. A string that is not UTF-8 is an error.
func marshalJSON[T any](dst []byte, v T) ([]byte, error) {
	b := bytes.NewBuffer(dst)
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return dst, err
	}
	text := b.Bytes()[:b.Len()-1] // Encode appends a line break
	if bytes.Contains(text[len(dst):], replacement) {
		if err := checkStrings(v); err != nil {
			return dst, err
		}
	}
	return text, nil
}

// errNoUTF8 is the cause that the JSON encoder gives for a string that is not UTF-8.
var errNoUTF8 = func() error {
	_, err := jsontext.AppendQuote(nil, "\xff")
	return err
}()

// checkStrings returns an error if v has a string that is not UTF-8.
func checkStrings(v any) error {
	err := jsonv2.MarshalWrite(io.Discard, v, jsonv1.DefaultOptionsV1(), jsontext.AllowInvalidUTF8(false), jsonv1.ReportErrorsWithLegacySemantics(false))
	if !errors.Is(err, errNoUTF8) && !strings.Contains(fmt.Sprint(err), errNoUTF8.Error()) {
		return nil
	}
	if at := pointerOf(err); at != "" {
		return fmt.Errorf("a string that is no UTF-8, at %q", at)
	}
	return errors.New("a string that is no UTF-8")
}

// pointerOf returns the place in a value that an error of the JSON library names, as a JSON Pointer (RFC 6901), or "".
func pointerOf(err error) jsontext.Pointer {
	if e, ok := errors.AsType[*jsontext.SyntacticError](err); ok && e.JSONPointer != "" {
		return e.JSONPointer
	}
	if e, ok := errors.AsType[*jsonv2.SemanticError](err); ok {
		return e.JSONPointer
	}
	return ""
}

// textError says in plain words what is wrong with src. exact is the error of the strict decoder, which has the place. first is the error with
// encoding/json's semantics, which has better words for a value of a wrong kind.
func textError(src []byte, exact, first error) *TextError {
	at := len(src) // offset of the value in question
	if e, ok := errors.AsType[*jsonv2.SemanticError](exact); ok {
		at = int(e.ByteOffset)
	}
	e := describe(src, at, exact, first)
	e.Offset = min(max(0, e.Offset), len(src)+1)
	return e
}

// badTags reports whether err is about the tags of a struct's fields. encoding/json accepts such tags as well as it can.
func badTags(err error) bool {
	e, ok := errors.AsType[*jsonv2.SemanticError](err)
	return ok && e.Err != nil && strings.HasPrefix(e.Err.Error(), "Go struct field")
}

func describe(src []byte, at int, exact, first error) *TextError {
	var kind *jsonv1.UnmarshalTypeError
	var ownKind *json.UnmarshalTypeError
	var ownSyntax *json.SyntaxError
	var syntax *jsontext.SyntacticError
	var null *nullError
	if badTags(exact) {
		if e, ok := errors.AsType[*TextError](CheckText(src)); ok {
			return e
		}
		exact, at = first, -1 // the place is unknown
	}
	switch {
	case len(bytes.TrimSpace(src)) == 0:
		return &TextError{Offset: 1, Message: "no JSON value"}
	case errors.As(exact, &null):
		return &TextError{Offset: at + 1, Message: null.Error() + inField(pointerOf(exact))}
	case errors.As(first, &kind) && kind.Err == nil:
		return &TextError{Offset: int(kind.Offset), Message: fmt.Sprintf("got a JSON %s, want %s%s", kind.Value, kind.Type, inField(pointerOf(exact)))}
	case errors.As(exact, &syntax):
		return syntaxError(src, syntax, first)
	// The following errors come from a type that reads its own text.
	case errors.As(first, &ownKind):
		return &TextError{Offset: at + int(ownKind.Offset), Message: fmt.Sprintf("got a JSON %s, want %s%s", ownKind.Value, ownKind.Type, inOwnField(ownKind.Field))}
	case errors.As(first, &ownSyntax):
		return &TextError{Offset: at + int(ownSyntax.Offset), Message: ownSyntax.Error()}
	default:
		message := strings.TrimPrefix(first.Error(), "json: ")
		if errors.As(first, &kind) {
			message = fmt.Sprintf("got a JSON %s, want %s%s: %v", kind.Value, kind.Type, inField(pointerOf(exact)), kind.Err)
		}
		return &TextError{Offset: at + 1, Message: message}
	}
}

// inField says where in a value the place at lies. An element of an array is named by its index, from 0.
func inField(at jsontext.Pointer) string {
	path := strings.ReplaceAll(strings.TrimPrefix(string(at), "/"), "/", ".")
	if strings.Trim(path, "0123456789.") == "" && path != "" {
		return " in element " + path
	}
	return inOwnField(path)
}

func inOwnField(path string) string {
	if path == "" {
		return ""
	}
	return " in field " + strconv.Quote(path)
}

// syntaxError puts a syntax error of the decoder into plain words. first is encoding/json's error for the same text.
func syntaxError(src []byte, e *jsontext.SyntacticError, first error) *TextError {
	at := int(e.ByteOffset)
	message := e.Err.Error()
	switch {
	case errors.Is(e.Err, io.ErrUnexpectedEOF):
		return &TextError{Offset: len(src) + 1, Message: "unexpected end of JSON text"}
	case errors.Is(e.Err, jsontext.ErrDuplicateName):
		return &TextError{Offset: at + 1, Message: fmt.Sprintf("the name %q is there twice", e.JSONPointer.LastToken()), Refused: true}
	case strings.Contains(message, "max depth"):
		return &TextError{Offset: at + 1, Message: "arrays and objects nest deeper than " + strconv.Itoa(maxDepth), Refused: true}
	case at < len(src) && notUTF8(src[at:]) == 0:
		return &TextError{Offset: at + 1, Message: fmt.Sprintf("byte %#x is no UTF-8", src[at])}
	case bytes.HasPrefix(src[min(at, len(src)):], []byte(`\u`)) && strings.Contains(message, "surrogate"):
		return &TextError{Offset: at + 1, Message: fmt.Sprintf("%s is half of a surrogate pair, which is no character", src[at:min(at+len(`\ud800`), len(src))]), Refused: true}
	default:
		message = strings.Replace(first.Error(), "after top-level value", "after the value", 1)
		if strings.HasSuffix(message, "in string") {
			message += " literal"
		}
		return &TextError{Offset: at + 1, Message: message}
	}
}

// maxDepth is how deep arrays and objects may nest in the decoder, as in encoding/json.
const maxDepth = 10000

// rawCodec passes JSON texts through, on one line each.
func rawCodec[T any](c *Codec[T]) {
	c.append = func(dst []byte, v T) ([]byte, error) {
		src := *(*[]byte)(unsafe.Pointer(&v))
		switch {
		case src == nil:
			return append(dst, "null"...), nil // as encoding/json does
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
		if err := CheckText(src); err != nil {
			return *new(T), err
		}
		line, err := compact(nil, src) // src has line breaks
		return *(*T)(unsafe.Pointer(&line)), err
	}
	c.appendJSON, c.decodeJSON = c.append, c.decode
}

// compact appends a JSON text without its white space.
func compact(dst, src []byte) ([]byte, error) {
	b := bytes.NewBuffer(dst)
	if err := json.Compact(b, src); err != nil {
		if where := CheckText(src); where != nil { // Compact does not give the place
			err = where
		}
		return dst, err
	}
	return b.Bytes(), nil
}

// ValidText reports whether src is one JSON text without line breaks that [CheckText] accepts.
func ValidText(src []byte) bool {
	if n, ok := cutNumber(src); ok && n == len(src) {
		return true
	}
	return bytes.IndexByte(src, '\n') < 0 && bytes.IndexByte(src, '\r') < 0 && jsontext.Value(src).IsValid()
}

// IsJSON reports whether src is one JSON text in UTF-8 (RFC 8259, section 8.1). [json.Valid] does not check the encoding of strings.
func IsJSON(src []byte) bool { return utf8.Valid(src) && json.Valid(src) }

// CheckText returns a [*TextError] if src is not one JSON value in UTF-8, has half of a surrogate pair, or has an object that repeats a name.
// Otherwise it returns nil.
func CheckText(src []byte) error {
	_, err := unmarshalJSON[json.RawMessage](src, false)
	return err
}

// notUTF8 returns the index of the first byte that is not UTF-8, or the length of src.
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
