package main

import "testing"

func TestEscapeRoff(t *testing.T) {
	for text, want := range map[string]string{
		"a-b":           `a\-b`,
		`a\b`:           `a\eb`,
		".TH is a word": `\&.TH is a word`,
		"a\n'b":         "a\n\\&'b",
	} {
		if got := escapeRoff(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}
