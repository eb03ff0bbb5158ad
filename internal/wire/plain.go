package wire

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Plain returns text from the other side as one line that is safe for a terminal. It escapes characters that cannot be printed or that change the
// direction of writing, as in a Go string: \x1b, for example. Tabs stay.
func Plain(s string) string {
	plain := 0 // length of the ASCII prefix, which is nearly always the whole text
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
