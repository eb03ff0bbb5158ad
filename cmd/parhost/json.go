package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/parhost/parhost/internal/wire"
)

// JSON texts within these limits are indented. Many of them come from plugins, and indentation can make a deeply nested text hundreds of times
// longer.
const (
	indentedBytes = 64 << 10
	indentedDepth = 24
)

// printJSON prints v as JSON, for programs to read.
func printJSON(s *streams, v any) error {
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return err
	}
	_, err := s.out.Write(append(plainJSON(layOut(text.Bytes(), "")), '\n'))
	return err
}

// layOut indents a valid JSON text, with prefix at the beginning of each further line. A text that is large or deeply nested becomes one line
// instead.
func layOut(text []byte, prefix string) []byte {
	var line, lines bytes.Buffer
	if json.Compact(&line, text) != nil || line.Len() > indentedBytes || wire.Nesting(line.Bytes()) > indentedDepth || json.Indent(&lines, line.Bytes(), prefix, "  ") != nil {
		return line.Bytes()
	}
	return lines.Bytes()
}

// plainJSON escapes everything that could control a terminal, as wire.Plain does. In a text from layOut such characters stand only in strings, where
// the escape means the same character.
func plainJSON(text []byte) []byte {
	plain := make([]byte, 0, len(text))
	for len(text) > 0 {
		r, n := utf8.DecodeRune(text)
		switch {
		case r == utf8.RuneError && n == 1: // JSON decoders replace an invalid byte by U+FFFD too
			plain = append(plain, `\ufffd`...)
		case r == '\n' || unicode.IsPrint(r):
			plain = append(plain, text[:n]...)
		default:
			for _, unit := range utf16.AppendRune(nil, r) {
				plain = fmt.Appendf(plain, `\u%04x`, unit)
			}
		}
		text = text[n:]
	}
	return plain
}
