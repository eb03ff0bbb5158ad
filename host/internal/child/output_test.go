package child

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/parhost/parhost/internal/lastword"
)

// A logger that is told to write nothing writes no line of a worker, whatever level the line names.
func TestAWorkerCannotSpeakLouderThanItsHostListens(t *testing.T) {
	for level, want := range map[hclog.Level]string{hclog.Off: "", hclog.Error: "[ERROR] said"} {
		t.Run(level.String(), func(t *testing.T) {
			var log bytes.Buffer
			o := &output{logger: hclog.New(&hclog.LoggerOptions{Level: level, Output: &log, DisableTime: true})}
			o.add(`{"@level":"off","@message":"said"}`, true)
			if got := strings.TrimSpace(log.String()); got != want {
				t.Errorf("a line at the level off: got %q, want %q", got, want)
			}
		})
	}
}

// Only a bounded number of lines is kept. The text of a panic may have more lines than that, and so may the stacks after it.
func TestThePanicBehindALongDumpIsKeptWithAllItsLines(t *testing.T) {
	more := func(n int) string { return strings.Repeat("\nmore", n) }
	for lines, want := range map[int]string{0: "panic: text", 2: "panic: text" + more(2), 60: "panic: text" + more(60), 9000: "panic: text" + more(lastword.MaxPanicLines-1) + "\n…"} {
		for _, frames := range []int{0, 3, 30, 3000} {
			o := &output{logger: hclog.NewNullLogger()}
			o.add("panic: text", true)
			for range lines {
				o.add("\tmore", true)
			}
			if frames > 0 {
				o.add("goroutine 7 [running]:", true)
			}
			for range frames {
				o.add("main.main()", true)
				o.add("\t/src/main.go:13 +0x29", true)
			}
			if kept := o.lines(0); lastword.In(kept) != want || len(kept) > tailLines+lastword.MaxPanicLines+2 {
				t.Errorf("a panic of %d more lines, with %d frames behind it: got %q, want %q", lines, frames, kept, want)
			}
		}
	}
}

// The text of an exception, and the words before a dump of abort(3), may have more lines than are kept.
func TestTheExceptionBehindALongDumpIsKeptWithAllItsLines(t *testing.T) {
	for text, want := range map[string]string{
		"loaded\nmodel: bad magic\nSIGABRT: abort\nPC=0x7f m=0\n":                                   "model: bad magic\nSIGABRT: abort",
		"free(): invalid pointer\nSIGABRT: abort\nPC=0x7f m=0\n":                                    "free(): invalid pointer\nSIGABRT: abort",
		"terminate called after throwing an instance of 'E'\n  what():  one\ntwo\nSIGABRT: abort\n": "terminate called after throwing an instance of 'E': one\ntwo\nSIGABRT: abort",
		"thread 'main' panicked at a.rs:1:1:\none\ntwo\nstack backtrace:\n":                         "thread 'main' panicked at a.rs:1:1: one\ntwo",
		"Exception in thread \"main\" java.lang.Error: one\ntwo\n":                                  "Exception in thread \"main\" java.lang.Error: one\ntwo",
	} {
		o := &output{logger: hclog.NewNullLogger()}
		for line := range strings.Lines(text) {
			o.add(strings.TrimSuffix(line, "\n"), true)
		}
		frame := "\t/src/main.go:13 +0x29"
		if strings.Contains(text, "java") {
			frame = "\tat M.main(M.java:1)"
		}
		for range 3000 {
			o.add(frame, true)
		}
		if kept := o.lines(0); lastword.In(kept) != want {
			t.Errorf("%q with many frames behind it: got %q of %q, want %q", text, lastword.In(kept), kept, want)
		}
	}
}

// The host names the worker and the item of a line. A workload's own fields must not be mistaken for these.
func TestFieldsOfAWorkerAreToldFromTheHosts(t *testing.T) {
	for key, want := range map[string]string{
		"Size_2.x-y":  `Size_2.x-y=7`,
		"item":        `item=7`, // the format in which the SDK names the item
		"worker":      ``,
		"worker ":     `"worker "=7`,
		" worker":     `" worker"=7`,
		"Worker":      `"Worker"=7`,
		"ITEM":        `"ITEM"=7`,
		"w\u043erker": "\"w\u043erker\"=7",
		"a=1 worker":  `"a=1 worker"=7`,
		"worker\n":    `"worker\n"=7`,
		"\u202eitem":  `"\u202eitem"=7`,
		`"worker"`:    `"\"worker\""=7`,
		"":            `""=7`,
	} {
		var log bytes.Buffer
		o := &output{logger: hclog.New(&hclog.LoggerOptions{Output: &log, DisableTime: true}).With("worker", 1)}
		name, err := json.Marshal(key)
		if err != nil {
			t.Fatal(err)
		}
		o.add(`{"@level":"info","@message":"said",`+string(name)+`:7}`, true)
		want := strings.TrimSpace("[INFO]  said: worker=1 " + want)
		if got := strings.TrimSpace(log.String()); got != want {
			t.Errorf("a field %q: got %s, want %s", key, got, want)
		}
	}
}
