package wire_test

import (
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/parhost/parhost/internal/wire"
)

func TestPlainTextDoesNothingToATerminal(t *testing.T) {
	for s, want := range map[string]string{
		"":                            "",
		"plain text, größer – 日本":     "plain text, größer – 日本",
		"a\tb":                        "a\tb",
		"\x1b[31mred\x1b]0;title\x07": `\x1b[31mred\x1b]0;title\a`,
		"one\rother\ntwo":             `one\rother\ntwo`,
		"\u009b31m":                   `\u009b31m`,
		"right \u202eto left":         `right \u202eto left`,
		"zero\u200bwidth\ufeff":       `zero\u200bwidth\ufeff`,
		"no UTF-8: \xff\x9b":          `no UTF-8: \xff\x9b`,
		"\ufffd":                      "\ufffd",
		"\x00\x7f":                    `\x00\x7f`,
	} {
		if got := wire.Plain(s); got != want {
			t.Errorf("Plain of %q: got %q, want %q", s, got, want)
		}
	}
}

func FuzzPlain(f *testing.F) {
	f.Add("a\x1b[2J\u202e\xff")
	f.Fuzz(func(t *testing.T, s string) {
		got := wire.Plain(s)
		if !utf8.ValidString(got) {
			t.Errorf("Plain of %q: got %q, which is no UTF-8", s, got)
		}
		for _, r := range got {
			if r != '\t' && !unicode.IsPrint(r) {
				t.Errorf("Plain of %q: got %q, which has %U", s, got, r)
			}
		}
		if again := wire.Plain(got); again != got {
			t.Errorf("Plain of %q: got %q, want it as it is", got, again)
		}
	})
}
