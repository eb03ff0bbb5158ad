package joblog

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/internal/wire"
	"github.com/parhost/parhost/protocol"
)

var sampleKey = keyOf([]byte("4"))

func TestKeyIsTheFirstHalfOfTheSHA256(t *testing.T) {
	got := appendRecord(nil, &head{key: sampleKey}, &result{Value: json.RawMessage("2")})
	if want := []byte(`"item":"4b227777d4dd1fc61c6f884f48641d02"`); !bytes.Contains(got, want) { // from: printf 4 | sha256sum
		t.Errorf("record of item 4: got %s, want %s in it", got, want)
	}
	if keyOf([]byte(" 4\t")) != sampleKey {
		t.Error("white space around an item makes it another")
	}
}

func TestRecordsAreExact(t *testing.T) {
	for name, r := range map[string]result{
		"number":            {Index: 7, Value: json.RawMessage("1.4142135623730951"), Worker: 3, PID: 4711, Attempts: 2, Wait: 91 * time.Microsecond, Run: 8 * time.Microsecond},
		"number beyond any": {Value: json.RawMessage("123456789012345678901234567890e400")},
		"text":              {Value: json.RawMessage(`"a \u0000 \" , \"crc\":\"00000000\" <&> é 🌍"`)},
		"object":            {Value: json.RawMessage(`{"n":1,"item":"","a":[1,{}]}`)},
		"null":              {Value: json.RawMessage(`null`)},
		"large":             {Value: json.RawMessage(`"` + string(bytes.Repeat([]byte("x"), 1<<16)) + `"`)},
		"error": {Index: 9, Attempts: 3, Err: &host.ItemError{
			Cause: host.CauseExit,
			Index: 9, Kind: host.KindCrashed, Message: "exit status 3\n\"x\" <&>", Stack: "goroutine 1\n\tmain.go:1", Offset: 5, Size: 1 << 40,
			ExitCode: -1, Signal: "SIGSEGV", Stderr: []string{"a", "", "\u2028"}, Attempts: 3,
		}},
	} {
		t.Run(name, func(t *testing.T) {
			want := head{n: 1 << 40, key: sampleKey, occurrence: uint32(r.Index), index: int64(r.Index), failed: r.Err != nil}
			line := appendRecord([]byte("before"), &want, &r)[len("before"):]
			if n := bytes.IndexByte(line, '\n'); n != len(line)-1 {
				t.Fatalf("line break at byte %d of %d", n, len(line))
			}
			if !json.Valid(line) {
				t.Errorf("no JSON: %s", line)
			}
			h, got, ok := parseRecord(line[:len(line)-1])
			if !ok {
				t.Fatalf("cannot be read back: %s", line)
			}
			if h != want {
				t.Errorf("head: got %+v, want %+v", h, want)
			}
			if diff := cmp.Diff(r, got); diff != "" {
				t.Errorf("result (-want +got):\n%s", diff)
			}
		})
	}
}

// Whatever cause the host gives for a death, its record must be readable again.
func TestEachCauseIsReadBack(t *testing.T) {
	causes := protocol.Causes()
	if len(causes) == 0 {
		t.Fatal("there are no causes: the test shows nothing")
	}
	for _, cause := range causes {
		want := result{Attempts: 1, Err: &host.ItemError{Kind: host.KindCrashed, Message: "m", Cause: cause, Attempts: 1}}
		line := appendRecord(nil, &head{key: sampleKey}, &want)
		_, got, ok := parseRecord(line[:len(line)-1])
		if diff := cmp.Diff(want, got); !ok || diff != "" {
			t.Errorf("record of cause %q: read back: %v (-want +got):\n%s", cause, ok, diff)
		}
	}
}

// forge returns a line with a correct checksum: {"n":0,"item":…,"index":0,"worker":1,"pid":2, followed by rest.
func forge(rest string) []byte {
	line := fmt.Appendf(nil, `{"n":0,"item":"%x","index":0,"worker":1,"pid":2,%s`, sampleKey, rest)
	line = seal(line, 0)
	return line[:len(line)-1]
}

// These lines have correct checksums, so they are not rejected as damage. They must be rejected because no worker could have produced them.
func TestARecordThatNoWorkerGivesIsNone(t *testing.T) {
	const times = `"wait_us":1,"run_us":1,`
	const name = `"error":{"kind":"failed","message":"x"`
	if _, _, ok := parseRecord(forge(times + `"value":2`)); !ok {
		t.Fatal("a proper record is none: the forgeries below show nothing")
	}
	if _, _, ok := parseRecord(forge(times + name + `}`)); !ok {
		t.Fatal("a proper failure is none: the forgeries below show nothing")
	}
	for what, rest := range map[string]string{
		"a value that ends the record":     times + `"value":1} {"index":1,"value":2`,
		"two values":                       times + `"value":1,2`,
		"no value":                         times + `"value":`,
		"blanks alone":                     times + `"value":   `,
		"a value that is a tail":           times + `"value":"x","crc":"00000000"}`,
		"an escape":                        times + "\"value\":\x1b[31m",
		"an escape in a string":            times + "\"value\":\"\x1b]0;title\x07\"",
		"a line break":                     times + "\"value\":[1,\n2]",
		"a carriage return":                times + "\"value\":[1,\r2]",
		"no UTF-8":                         times + "\"value\":\"\xff\"",
		"a surrogate in UTF-8":             times + "\"value\":\"\xed\xa0\x80\"",
		"a value that nests without end":   times + `"value":` + strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000),
		"a value in base64 with two lines": times + `"value_base64":"MQoy"`,
		"a number like none":               times + `"value":01`,
		"an unknown kind":                  times + `"error":{"kind":"odd","message":"x"}`,
		"no kind":                          times + `"error":{}`,
		"an item that was cancelled":       times + `"error":{"kind":"canceled"}`,
		"no error":                         times + `"error":null`,
		"an unknown cause":                 times + name + `,"cause":"magic"}`,
		"a long message":                   times + `"error":{"kind":"failed","message":"` + strings.Repeat("x", wire.MaxMessageText+1) + `"}`,
		"a long stack":                     times + name + `,"stack":"` + strings.Repeat("x", wire.MaxStackText+1) + `"}`,
		"a long signal":                    times + name + `,"signal":"` + strings.Repeat("x", wire.MaxSignal+1) + `"}`,
		"many lines":                       times + name + `,"stderr":[""` + strings.Repeat(`,""`, wire.MaxStderrLines) + `]}`,
		"a long line":                      times + name + `,"stderr":["` + strings.Repeat("x", wire.MaxStderrLine+1) + `"]}`,
		"a long failure":                   times + name + strings.Repeat(" ", maxFailure) + `}`,
		"a negative offset":                times + name + `,"offset":-1}`,
		"a large size":                     times + name + `,"size":1152921504606846977}`,
		"a negative size":                  times + name + `,"size":-1}`,
		"no exit code":                     times + name + `,"exit_code":4294967296}`,
		"something behind the error":       times + name + `},"value":2`,
		"a time beyond all":                `"wait_us":9223372036854776,"run_us":1,"value":2`,
		"a number with a zero before it":   `"wait_us":01,"run_us":1,"value":2`,
		"a negative time":                  `"wait_us":-1,"run_us":1,"value":2`,
		"many attempts":                    `"attempts":2147483648,` + times + `"value":2`,
	} {
		if _, r, ok := parseRecord(forge(rest)); ok {
			t.Errorf("%s: %.200s is read as %.200q, %v, want no record", what, rest, r.Value, r.Err)
		}
	}
}

// A failure must be written so that it can be read back, however long its texts are.
func TestAFailureIsBounded(t *testing.T) {
	long := strings.Repeat("\x00\xff", 1<<20)
	r := result{Err: &host.ItemError{
		Kind: host.KindCrashed, Message: long, Stack: long, Signal: long, Offset: -1, Size: -1, Cause: host.CauseExit,
		Stderr: append(slices.Repeat([]string{long}, 3*wire.MaxStderrLines), "the last line"),
	}}
	line := appendRecord(nil, &head{key: sampleKey}, &r)
	_, got, ok := parseRecord(line[:len(line)-1])
	if !ok || len(line) > lineBytes(1) {
		t.Fatalf("got a record of %d bytes, read back: %v, want one of at most %d that can be", len(line), ok, lineBytes(1))
	}
	if last := got.Err.Stderr[len(got.Err.Stderr)-1]; last != "the last line" {
		t.Errorf("the last line of stderr: got %q", last)
	}
}

func TestAFlippedBitIsNoticed(t *testing.T) {
	line := appendRecord(nil, &head{n: 17, key: sampleKey, occurrence: 3}, &result{Index: 4, Value: json.RawMessage("2")})
	line = line[:len(line)-1]
	for i := range line {
		for bit := range 8 {
			line[i] ^= 1 << bit
			if _, r, ok := parseRecord(line); ok && line[i]|0x20 != line[i]^1<<bit|0x20 { // the checksum may be written in hexadecimal digits of either case
				t.Errorf("bit %d of byte %d: read as %+v", bit, i, r)
			}
			line[i] ^= 1 << bit
		}
	}
}

func TestQueueKeepsItsOrderWhileItGrows(t *testing.T) {
	var q queue[int]
	pushed, popped := 0, 0
	for round := range 200 {
		for range round {
			q.push(pushed)
			pushed++
		}
		for range round / 2 {
			if got := q.pop(); got != popped {
				t.Fatalf("got %d, want %d", got, popped)
			}
			popped++
		}
		if q.size() != pushed-popped || q.size() > 0 && *q.at(popped) != popped {
			t.Fatalf("got size %d and %d at the front, want %d and %d", q.size(), *q.at(popped), pushed-popped, popped)
		}
	}
}

// FuzzRecord feeds the parser lines with a correct checksum, because lines without one are rejected early.
func FuzzRecord(f *testing.F) {
	for _, r := range []result{{Value: json.RawMessage("2")}, {Err: &host.ItemError{Kind: host.KindFailed}}, {Value: json.RawMessage("\n")}} {
		line := appendRecord(nil, &head{key: sampleKey}, &r)
		f.Add(line[:len(line)-sealBytes-1])
	}
	f.Add([]byte(`{"n":99999999999999999999999`))
	f.Add([]byte(`{"joblog":1`))
	for _, value := range []string{"", "1} {", "\x1b", "\"\xff\"", "\"\r\"", strings.Repeat("[", 10_001)} {
		line := appendRecord(nil, &head{key: sampleKey}, &result{Value: json.RawMessage(value)})
		f.Add(line[:len(line)-sealBytes-1])
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		line := seal(bytes.Clone(text), 0)
		line = line[:len(line)-1]
		parseHeader(line)
		h, r, ok := parseRecord(line)
		if !ok {
			return
		}
		if r.Err == nil && (!utf8.Valid(r.Value) || !json.Valid(r.Value) || bytes.ContainsAny(r.Value, "\r\n")) {
			t.Errorf("%q: the value %q is not one line of JSON", line, r.Value)
		}
		if r.Err != nil && (!protocol.IsKind(r.Err.Kind) || len(r.Err.Message) > wire.MaxMessageText) {
			t.Errorf("%q: no item can have failed as %+v", line, r.Err)
		}
		if r.Index < 0 || r.Worker < 0 || r.PID < 0 || r.Attempts < 0 || r.Wait < 0 || r.Run < 0 {
			t.Errorf("%q: %+v has a negative number", line, r)
		}
		again := appendRecord(nil, &h, &r)
		h2, r2, ok := parseRecord(again[:len(again)-1])
		if diff := cmp.Diff(r, r2); !ok || h != h2 || diff != "" {
			t.Errorf("%q: written and read again: %v, %+v, want %+v (-want +got):\n%s", line, ok, h2, h, diff)
		}
	})
}

func TestOccurrencesAreCounted(t *testing.T) {
	s := newSeen()
	key := func(i int) *digest { k := keyOf(strconv.AppendInt(nil, int64(i), 10)); return &k }
	for i := range genItems + 10 { // item 0 comes again and again, each other item three times in a row
		if got := s.count(key(0)); got != uint32(i) {
			t.Fatalf("item 0: got %d, want %d", got, i)
		}
		if i > 0 {
			if got := s.count(key((i + 2) / 3)); got != uint32((i+2)%3) {
				t.Fatalf("item %d: got %d, want %d", (i+2)/3, got, (i+2)%3)
			}
		}
	}
}

func TestOnlyWhatIsFarBackIsForgotten(t *testing.T) {
	s := newSeen()
	key := func(i int) *digest { k := keyOf(strconv.AppendInt(nil, int64(i), 10)); return &k }
	for i := range 5 * genItems {
		if got := s.count(key(i)); got != 0 {
			t.Fatalf("item %d is new: got %d", i, got)
		}
		if back := i - genItems + 1000; back >= 0 && i%1000 == 0 { // some earlier items that must not have been forgotten
			if got := s.count(key(back)); got == 0 {
				t.Fatalf("item %d came %d items before and is forgotten", back, i-back)
			}
		}
	}
	if got := s.count(key(0)); got != 0 {
		t.Errorf("item 0 came %d items before: got %d; memory is not bounded", 5*genItems, got)
	}
}
