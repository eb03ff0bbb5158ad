package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/parhost/parhost/sdk"
)

// rude is a text that would control a terminal or forge a line of parhost.
const rude = "rude \x1b[31m\x1b]0;title\x07 over\r \u009b2J \u202e\nparhost: hint: run rm"

// rudeSchema is a schema with such text, most of which JSON itself allows.
const rudeSchema = "\r{\"title\":\r\"\u009b2J \u202e\u200b\x7f \U000e0001\"\r}\r"

// rudeExample is invalid UTF-8 within otherwise valid JSON. Hosts drop such examples.
var rudeExample = json.RawMessage("\"no UTF-8: \xff\x9b\"")

// deepSchema returns a schema of 32 KiB that is nested to the given depth.
func deepSchema(depth int) string {
	return `{"default":` + strings.Repeat("[", depth-1) + "0" + strings.Repeat(",0", 16<<10) + strings.Repeat("]", depth-1) + "}"
}

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

// Whatever a plugin says, it must not control the user's terminal, and none of its lines may look like one of parhost's.
func TestWhatPluginsSayDoesNothingToATerminal(t *testing.T) {
	for _, args := range [][]string{
		{"-p", "rude", "-o", "table", "--log-level", "info", `"fail"`, `"panic"`, `"result"`},
		{"-p", "rude", "-o", "values", "--log-level", "info", `"fail"`, `"panic"`},
		{"-p", "rude", "-o", "none", "--log-level", "info", "--progress", "lines", `"fail"`, `"panic"`},
		{"plugins", "describe", "rude"},
		{"plugins", "describe", "rude", "--json"},
		{"plugins", "list"},
		{"plugins", "list", "--json"},
		{"plugins", "verify", "rude"},
		{"plugins", "verify", "rude", "--json"},
	} {
		_, stdout, stderr := call(t, strings.NewReader(""), args...)
		if slices.Contains(args, "--json") {
			var v any
			if err := json.Unmarshal([]byte(stdout), &v); err != nil {
				t.Errorf("%q: got %v, want JSON", args, err)
			} else if text := fmt.Sprint(v); slices.Contains(args, "describe") && (!strings.Contains(text, "\u009b2J \u202e\u200b\x7f \U000e0001") || strings.Contains(text, "no UTF-8")) {
				t.Errorf("%q: got %q, want it to mean what the plugin says", args, text)
			}
		}
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

// A schema may be as long as the plugin makes it, but indentation must not make it hundreds of times longer.
func TestADeepSchemaIsShownAsItIs(t *testing.T) {
	for _, args := range [][]string{{"plugins", "describe", "deep"}, {"plugins", "describe", "deep", "--json"}} {
		code, stdout, stderr := call(t, nil, args...)
		most := len(deepSchema(50)) + len(deepSchema(20)) + 4<<10
		if !slices.Contains(args, "--json") { // only the schema that is less deeply nested is indented
			most += 16 << 10 * (1 + 20*2 + 2)
		}
		if code != exitOK || len(stdout) > most || !strings.Contains(stdout, strings.Repeat("[", 49)+"0,0,0,0") {
			t.Errorf("%q: got exit code %d and %d bytes, want the schema in no more than %d; stderr: %s", args, code, len(stdout), most, stderr)
		}
	}
}
