package wire

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Plain returns text of the other side as one line that does nothing to a terminal: what cannot be printed, or turns the direction of
// writing, is shown as Go would write it in a string, \x1b for one. Tabs stay.
func Plain(s string) string {
	plain := 0 // bytes of ASCII, as which nearly all texts end
	for plain < len(s) && (' ' <= s[plain] && s[plain] <= '~' || s[plain] == '\t') {
		plain++
	}
	if plain == len(s) {
		return s
	}
	var b strings.Builder
	b.WriteString(s[:plain])
	s = s[plain:]
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		if isPlain(r) && (r != utf8.RuneError || n > 1) {
			b.WriteString(s[:n])
		} else {
			quoted := strconv.Quote(s[:n])
			b.WriteString(quoted[1 : len(quoted)-1])
		}
		s = s[n:]
	}
	return b.String()
}

func isPlain(r rune) bool { return r == '\t' || unicode.IsPrint(r) }
