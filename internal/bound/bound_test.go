package bound_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/parhost/parhost/internal/bound"
)

func TestText(t *testing.T) {
	const n = 100
	for name, c := range map[string]struct {
		in, want string
	}{
		"short":                 {"short", "short"},
		"exactly":               {strings.Repeat("a", n), strings.Repeat("a", n)},
		"one too long":          {strings.Repeat("a", n+1), strings.Repeat("a", 62) + " … (39 bytes cut)"},
		"far too long":          {strings.Repeat("a", 1<<20), strings.Repeat("a", 62) + " … (1048514 bytes cut)"},
		"cut inside of a rune":  {strings.Repeat("a", 61) + strings.Repeat("€", 50), strings.Repeat("a", 61) + " … (150 bytes cut)"},
		"no UTF-8":              {"a\xffb", "a\uFFFDb"},
		"no UTF-8 and too long": {strings.Repeat("\xff", n+1), "\uFFFD … (98 bytes cut)"},
		"grown by being mended": {strings.Repeat("a\xff", n/2), strings.Repeat("a\uFFFD", 15) + "a" + " … (39 bytes cut)"},
	} {
		t.Run(name, func(t *testing.T) {
			got := bound.Text(c.in, n)
			if len(got) > n || !utf8.ValidString(got) {
				t.Errorf("bound.Text to %d bytes: got %d bytes, valid UTF-8: %v", n, len(got), utf8.ValidString(got))
			}
			if got != c.want {
				t.Errorf("bound.Text(%.20q…): got %q, want %q", c.in, got, c.want)
			}
			if again := bound.Text(got, n); again != got {
				t.Errorf("bounding it again: got %q, want no change", again)
			}
		})
	}
}
