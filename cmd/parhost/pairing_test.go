package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"
)

// However JSON encodes a line break, a string that contains one must stay on its own line.
func TestAResultTakesNoOtherLine(t *testing.T) {
	for _, text := range []string{
		`"a\nb"`, `"a\u000ab"`, `"a\u000Ab"`, `"a\\\u000ab"`, `"a\rb"`, `"a\u000db"`, `"\u000D\u000A"`,
	} {
		for _, mode := range []string{"process", "goroutine"} {
			code, out, stderr := call(t, nil, "-p", "echo", "-j", "1", "--mode", mode, "-o", "values", "--raw", "--keep-lines", "--progress", "none", text, `"second"`)
			if want := text + "\nsecond\n"; code != exitOK || out != want {
				t.Errorf("mode %s, item %s: got exit code %d, %q, want %q; stderr: %s", mode, text, code, out, want, stderr)
			}
		}
	}
	code, out, stderr := call(t, nil, "-p", "echo", "-j", "1", "-o", "values", "--raw", "--keep-lines", "--progress", "none", `"no \\n line \u0041"`)
	if want := "no \\n line A\n"; code != exitOK || out != want {
		t.Errorf("a string without a line break: got exit code %d, %q, want %q; stderr: %s", code, out, want, stderr)
	}
}

// A record is valid JSON in UTF-8, whatever bytes its item has.
func TestARecordWithItsItemIsUTF8(t *testing.T) {
	items := strings.NewReader("4\n\"\xff\"\n{\"\xc2\":1}\n\xff\n9\n")
	_, out, stderr := call(t, items, "-p", "sqrt", "-j", "1", "-o", "jsonl", "--with-item", "-i", "-", "--progress", "none")
	n := 0
	for line := range strings.Lines(out) {
		var record struct {
			Index int
			Item  json.RawMessage
		}
		if err := json.Unmarshal([]byte(line), &record); err != nil || !utf8.ValidString(line) || record.Index != n || record.Item == nil {
			t.Errorf("record %d: got %q, %v, want JSON in UTF-8 with its item", n, line, err)
		}
		n++
	}
	if n != 5 {
		t.Errorf("got %d records, want 5; stderr: %s", n, stderr)
	}
	if first := fmt.Sprintf("%.30s", out); first != `{"index":0,"item":4,"value":2,` {
		t.Errorf("the first record begins with %s", first)
	}
}
