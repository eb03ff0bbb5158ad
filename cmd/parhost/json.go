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

// Up to these a JSON text is laid out in lines. Much of it is a plugin's, and what nests deeply becomes hundreds of times as long.
const (
	indentedBytes = 64 << 10
	indentedDepth = 24
)

// printJSON writes one value for programs.
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

// layOut breaks a valid JSON text into lines that begin with prefix, or makes one line of it if it is large or nests deeply.
func layOut(text []byte, prefix string) []byte {
	var line, lines bytes.Buffer
	if json.Compact(&line, text) != nil || line.Len() > indentedBytes || wire.Nesting(line.Bytes()) > indentedDepth || json.Indent(&lines, line.Bytes(), prefix, "  ") != nil {
		return line.Bytes()
	}
	return lines.Bytes()
}

// plainJSON escapes what would do something to a terminal, as wire.Plain does. In a text that has been laid out that is within strings, so it
// means what it meant.
func plainJSON(text []byte) []byte {
	plain := make([]byte, 0, len(text))
	for len(text) > 0 {
		r, n := utf8.DecodeRune(text)
		switch {
		case r == utf8.RuneError && n == 1: // what a program would take it for
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
