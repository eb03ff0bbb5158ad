package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"unicode"

	"github.com/parhost/parhost/sdk"
)

// rude is what would take over a terminal, or forge a line of ours.
const rude = "rude \x1b[31m\x1b]0;title\x07 over\r \u009b2J \u202e\nparhost: hint: run rm"

func talk(ctx context.Context, item string) (string, error) {
	fmt.Fprintln(os.Stderr, rude)
	pairs := []any{rude, rude, "nested", map[string]string{"k": rude}}
	sdk.Logger(ctx).Warn(rude, pairs...)
	switch item {
	case "fail":
		return "", errors.New(rude)
	case "panic":
		panic(rude)
	default:
		return rude, nil
	}
}

// Whatever a plugin says, the terminal of whoever runs it stays as it is, and no line of it passes for one of parhost's.
func TestWhatPluginsSayDoesNothingToATerminal(t *testing.T) {
	for _, args := range [][]string{
		{"-p", "rude", "-o", "table", "--log-level", "info", `"fail"`, `"panic"`, `"result"`},
		{"-p", "rude", "-o", "values", "--log-level", "info", `"fail"`, `"panic"`},
		{"-p", "rude", "-o", "none", "--log-level", "info", "--progress", "lines", `"fail"`, `"panic"`},
		{"plugins", "describe", "rude"},
		{"plugins", "list"},
		{"plugins", "verify", "rude"},
	} {
		_, stdout, stderr := call(t, strings.NewReader(""), args...)
		if text := stdout + stderr; !strings.Contains(text, "rude") {
			t.Errorf("%q: got %q, want something of what the plugin says", args, text)
		}
		for line := range strings.Lines(stdout + stderr) {
			for _, r := range strings.TrimSuffix(line, "\n") {
				if r != '\t' && !unicode.IsPrint(r) {
					t.Errorf("%q: got the line %q, which has %U", args, line, r)
				}
			}
			if strings.HasPrefix(line, "parhost: hint: run rm") {
				t.Errorf("%q: got the plugin's %q as a line of its own", args, line)
			}
		}
	}
}
