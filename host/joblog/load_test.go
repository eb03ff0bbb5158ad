package joblog

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/parhost/parhost/host"
)

// headerLine returns the header line of the journals that these tests forge.
func headerLine() []byte { return appendHeader(nil, &header{Format: format}) }

// journalOf writes a file with the given text and returns its path.
func journalOf(t testing.TB, text []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "run.joblog")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// grown returns how many bytes f allocates, including memory that has been freed again.
func grown(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func TestALineThatIsTooLongIsAnError(t *testing.T) {
	for name, tail := range map[string]string{"of a whole line": "\n", "of a torn line": ""} {
		t.Run(name, func(t *testing.T) {
			line := append(forge(`"wait_us":1,"run_us":1,"value":2`), '\n')
			path := journalOf(t, append(headerLine(), line...))
			before := int64(len(headerLine()) + len(line))
			size := before + 3<<30
			if err := os.Truncate(path, size); err != nil { // a sparse file takes no space on the disk
				t.Fatal(err)
			}
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = f.WriteAt([]byte(tail), size)
			_ = f.Close()
			size += int64(len(tail))
			const most = 1 << 20
			bytes := grown(func() {
				j, err := Open(Config{Path: path, Resume: true, MaxResultBytes: most})
				if j != nil {
					_ = j.Close()
				}
				var long *LineError
				if !errors.As(err, &long) || long.Path != path || long.Line != 3 || long.Limit != lineBytes(most) {
					t.Errorf("got %v, want the error of line 3", err)
				}
			})
			if bytes > 256<<20 {
				t.Errorf("opening it took %d MiB of memory", bytes>>20)
			}
			if info, err := os.Stat(path); err != nil || info.Size() != size {
				t.Errorf("the file has %v bytes, %v, want the %d that it had", info.Size(), err, size)
			}
		})
	}
}

// Everything that is written must be readable again, so a result that is too large to be read back ends the run.
func TestNoRecordIsLongerThanCanBeReadBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run.joblog")
	j, err := Open(Config{Path: path, MaxResultBytes: 4 << 20})
	if err != nil {
		t.Fatal(err)
	}
	fits := result{Value: json.RawMessage(`"` + strings.Repeat("x", 4<<20-2) + `"`)}
	j.record(&head{n: -1, key: sampleKey}, &fits)
	if err := j.flush(); err != nil {
		t.Fatalf("a result of the size of the limit: %v", err)
	}
	j.record(&head{n: -1, key: sampleKey}, &result{Index: 7, Value: json.RawMessage(`"` + strings.Repeat("x", 5<<20) + `"`)})
	if err := j.Close(); err == nil || !strings.Contains(err.Error(), "the record of item 7 is 52") {
		t.Errorf("a larger one: got %v, want an error with its size", err)
	}
	j, err = Open(Config{Path: path, Resume: true, MaxResultBytes: 4 << 20})
	if err != nil || j.Contents().Items != 1 {
		t.Fatalf("opened again: got %v, want the one that fits", err)
	}
	_ = j.Close()
}

func TestRecordNumbersRunOut(t *testing.T) {
	line := appendRecord(headerLine(), &head{n: maxNumber, key: sampleKey}, &result{Value: json.RawMessage("2")})
	path := journalOf(t, append(headerLine(), line[len(headerLine()):]...))
	j, err := Open(Config{Path: path, Resume: true})
	if err != nil || j.Contents().Items != 1 {
		t.Fatalf("got %v, want one item", err)
	}
	j.record(&head{n: -1, key: sampleKey}, &result{Value: json.RawMessage("2")})
	if err := j.Close(); err == nil || !strings.Contains(err.Error(), "no record numbers") {
		t.Errorf("got %v, want an error: nobody could read the record", err)
	}
}

// A result that waits for its turn must not keep its whole batch in memory.
func TestAResultThatWaitsIsAlone(t *testing.T) {
	j, err := Open(Config{Path: filepath.Join(t.TempDir(), "run.joblog")})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	f := newFlow(j, true)
	const waiting = 100
	for i := range waiting + 1 {
		f.enter(keyOf([]byte{byte(i)}))
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := 1; i <= waiting; i++ { // item 0 is still running
		batch := bytes.Repeat([]byte("7"), 4<<20)
		f.finish(&result{Index: i, Value: json.RawMessage(batch[:1:1])})
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if held := int64(after.HeapAlloc) - int64(before.HeapAlloc); held > 64<<20 {
		t.Errorf("%d results of one byte hold %d MiB", waiting, held>>20)
	}
	runtime.KeepAlive(f)
}

// Messages quote what the file says about the earlier run, so its texts must not control a terminal.
func TestDifferencesDoNothingToATerminal(t *testing.T) {
	const rude = "x\x1b[2J\nparhost: hint: run rm\u202e\u009b"
	was := Origin{Workload: rude, SHA256: rude, Plugin: rude + strings.Repeat("x", 1<<20), Arguments: map[string]string{rude: "1"}}
	for _, line := range (&Origin{Plugin: "/plugin"}).Differences(&was) {
		if strings.ContainsAny(line, "\x1b\n\u202e\u009b") || len(line) > 8<<10 {
			t.Errorf("got %d bytes, %.300q", len(line), line)
		}
	}
}

// A journal without a seed draws one when it is opened, and keeps it from then on. A header with an invalid seed is not a header.
func TestAJournalKeepsItsSeed(t *testing.T) {
	path := journalOf(t, append(headerLine(), append(forge(`"wait_us":1,"run_us":1,"value":2`), '\n')...))
	var seeds []uint64
	for _, asked := range []*uint64{nil, nil, new(uint64)} {
		j, err := Open(Config{Path: path, Resume: true, Origin: Origin{Seed: asked}})
		if asked != nil {
			if !errors.As(err, new(*OriginError)) {
				t.Errorf("another seed: got %v, want an OriginError", err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if seeds = append(seeds, j.Seed()); j.Contents().Items != 1 {
			t.Errorf("got %d items, want 1", j.Contents().Items)
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if seeds[0] != seeds[1] {
		t.Errorf("got the seeds %d", seeds)
	}
	for _, seed := range []string{"-1", "0.5", "18446744073709551616", `"1"`, "[]"} {
		head := seal([]byte(`{"joblog":1,"seed":`+seed), 0)
		if _, err := Open(Config{Path: journalOf(t, head), Resume: true}); !errors.As(err, new(*ForeignError)) {
			t.Errorf("seed %s: got %v, want a ForeignError", seed, err)
		}
	}
}

// FuzzOpen opens files whose lines have correct checksums, and reads back every record that Open accepts.
func FuzzOpen(f *testing.F) {
	f.Add([]byte(`{"joblog":1`))
	f.Add([]byte("{\"joblog\":1\n{\"joblog\":2,\"arguments\":{\"\\u001b\":null}"))
	for _, r := range []result{{Value: json.RawMessage("2")}, {Value: json.RawMessage("2}")}, {Err: &host.ItemError{Kind: host.KindFailed}}, {Err: &host.ItemError{}}} {
		line := appendRecord(nil, &head{n: maxNumber, key: sampleKey, occurrence: 1, index: maxNumber}, &r)
		f.Add(line[:len(line)-sealBytes-1])
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		file := headerLine()
		for line := range bytes.Lines(text) {
			from := len(file)
			file = seal(append(file, bytes.TrimSuffix(line, []byte("\n"))...), from)
		}
		j, err := Open(Config{Path: journalOf(t, file), Resume: true, Anyway: true})
		if err != nil {
			return
		}
		defer j.Close()
		flow, from := newFlow(j, true), window{r: j.file, most: j.most}
		for i := range j.index.entries {
			r, err := flow.read(&answer{slot: slot{at: j.index.entries[i].at()}}, &from)
			if err != nil || r.Err == nil && !json.Valid(r.Value) {
				t.Errorf("%q: record %d: got %q, %v", file, i, r.Value, err)
			}
		}
		_, _, _ = j.note(&head{n: -1, key: sampleKey}, &result{Value: json.RawMessage("2")})
	})
}
