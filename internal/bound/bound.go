// Package bound shortens texts that somebody else has written.
package bound

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Text makes s valid UTF-8 of at most n bytes, and appends a note of how much it cut. Applied to its own result, it changes nothing.
func Text(s string, n int) string {
	if len(s) <= n && utf8.ValidString(s) {
		return s
	}
	const note = " … (%d bytes cut)"
	whole := len(s)
	keep := max(0, n-len(note)-len("9223372036854775807"))
	if whole > n {
		s = cutRune(s[:keep])
	}
	if s = strings.ToValidUTF8(s, "\uFFFD"); whole <= n && len(s) <= n {
		return s
	}
	s = cutRune(s[:min(len(s), keep)]) // each byte that is not UTF-8 has become three
	return s + fmt.Sprintf(note, max(0, whole-len(s)))
}

// cutRune removes an incomplete rune from the end of s.
func cutRune(s string) string {
	for cut := 1; cut < utf8.UTFMax && cut <= len(s); cut++ {
		if c := s[len(s)-cut]; utf8.RuneStart(c) {
			if !utf8.FullRuneInString(s[len(s)-cut:]) {
				return s[:len(s)-cut]
			}
			break
		}
	}
	return s
}
