package joblog_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/parhost/parhost/host/joblog"
)

// What Read says is what the run's results were in the end, also of a journal that is torn. It needs no lock and changes nothing.
func TestReadTellsWhatARunDid(t *testing.T) {
	path := newPath(t)
	begun := time.Now().Add(-time.Second)
	items := texts("1", `"f1"`, `"f2"`, "2")
	runAll(t, openPool(t, echo), path, items)
	mended := openPool(t, func(_ context.Context, item json.RawMessage) (json.RawMessage, error) { return item, nil })
	open := openJournal(t, path, retryFailed)
	lines(open.Stream(t.Context(), mended, items), all)
	closeJournal(t, open)
	writeFile(t, path, append(readFile(t, path), `{"n":7,"rest":"is torn`...))
	content := readFile(t, path)

	replaced, final := 0, map[int]string{}
	about, err := joblog.Read(path, 0, func(r *joblog.Record) error {
		if r.At.Before(begun) || r.At.After(time.Now().Add(time.Second)) {
			t.Errorf("item %d: got the time %v", r.Result.Index, r.At)
		}
		if r.Replaced {
			replaced++
			return nil
		}
		final[r.Result.Index] = string(r.Result.Value)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(map[int]string{0: "[1]", 1: `"f1"`, 2: `"f2"`, 3: "[2]"}, final); d != "" {
		t.Errorf("results (-want +got):\n%s", d)
	}
	if replaced != 2 || about.Records != 6 || about.TornBytes != 22 || about.Damaged != 0 || about.Origin.SHA256 != origin.SHA256 || about.Began.IsZero() {
		t.Errorf("got %+v and %d replaced records, want 6 records, of which 2 are replaced, and 22 torn bytes", about, replaced)
	}
	if now := readFile(t, path); string(now) != string(content) {
		t.Error("the journal has changed")
	}
	stop := errors.New("stop")
	if _, err := joblog.Read(path, 0, func(*joblog.Record) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("got %v, want the error of the function", err)
	}
}

// A record of an older version does not say when it was made.
func TestARecordWithoutATimeIsValid(t *testing.T) {
	path := newPath(t)
	runAll(t, openPool(t, echo), path, texts("1"))
	header, _, _ := bytes.Cut(readFile(t, path), []byte("\n"))
	record := `{"n":0,"item":"6b86b273ff34fce19d6b804eff5a3f57","index":0,"worker":1,"pid":7,"wait_us":1,"run_us":2,"value":[1]`
	writeFile(t, path, fmt.Appendf(nil, "%s\n%s,\"crc\":\"%08x\"}\n", header, record, crc32.Checksum([]byte(record), crc32.MakeTable(crc32.Castagnoli))))
	got := 0
	about, err := joblog.Read(path, 0, func(r *joblog.Record) error {
		if got++; !r.At.IsZero() || r.Result.PID != 7 {
			t.Errorf("got %+v, want no time and the pid 7", r)
		}
		return nil
	})
	if err != nil || got != 1 {
		t.Errorf("got %d records, %+v, %v, want one", got, about, err)
	}
	if out := runAll(t, openPool(t, echo), path, texts("1")); len(out) != 1 || out[0] != "item 0: [1]" {
		t.Errorf("resumed: got %q", out)
	}
}

func TestReadRefusesWhatIsNoJournal(t *testing.T) {
	path := newPath(t)
	for name, content := range map[string]string{"empty": "", "text": "once upon a time\n", "half a header": `{"joblog":1,`, "another format": `{"joblog":99,"sha256":""}` + "\n"} {
		writeFile(t, path, []byte(content))
		_, err := joblog.Read(path, 0, nil)
		if _, ok := errors.AsType[*joblog.ForeignError](err); !ok {
			t.Errorf("%s: got %v, want a ForeignError", name, err)
		}
	}
	if _, err := joblog.Read(t.TempDir(), 0, nil); err == nil {
		t.Error("a folder: got no error")
	}
}
