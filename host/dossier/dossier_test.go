package dossier_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/host/dossier"
	"github.com/parhost/parhost/host/joblog"
	"github.com/parhost/parhost/host/sandbox"
	"github.com/parhost/parhost/protocol"
)

// origin is the origin of the run in most tests.
var origin = joblog.Origin{Workload: "test", SHA256: strings.Repeat("5a", 32), Plugin: "/plugin"}

func openDossiers(t *testing.T, dir string) *dossier.Folder {
	t.Helper()
	d, err := dossier.Open(dir, "test", origin, host.Config{
		ItemTimeout: 1500 * time.Millisecond, Retries: 2, Sandbox: sandbox.Policy{Level: sandbox.Strict, PIDs: 40},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	d.Confined([]string{"seccomp"})
	return d
}

func TestADossierSaysAllThatIsKnown(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made", "for", "it")
	files := openDossiers(t, dir)
	r := host.Result[json.RawMessage]{Index: 17, Worker: 3, PID: 4711, Attempts: 3, Wait: 1500 * time.Microsecond, Run: time.Second}
	r.Err = &host.ItemError{
		Index: 17, Kind: host.KindTimeout, Message: "still running", Stack: "a\n\tb\n", Offset: 5, Size: 6, ExitCode: 2,
		Cause: host.CauseTimeout, Stderr: []string{"last", "words"}, Dump: "SIGQUIT\n\ngoroutine 1\n", Attempts: 3,
		Usage: &host.Usage{User: 2 * time.Second, System: time.Millisecond, MaxRSS: 1 << 20},
	}
	item := []byte(`{"number": 5,"a":"<&>"}`)
	if err := files.Write(item, &r); err != nil {
		t.Fatal(err)
	}
	got, err := dossier.Read(files.Path(17, item))
	if err != nil {
		t.Fatal(err)
	}
	two := 2
	want := &dossier.Dossier{
		Item: item, Kind: host.KindTimeout, Message: "still running", Offset: 5, Size: 6, ExitCode: &two, Cause: host.CauseTimeout,
		Rusage: &dossier.Rusage{UserSeconds: 2, SystemSeconds: 0.001, MaxRSSBytes: 1 << 20},
		Index:  17, Attempts: 3, Worker: 3, PID: 4711, WaitMS: 1.5, RunMS: 1000,
		Origin: origin, Mode: host.ModeProcess, Limits: dossier.Limits{ItemTimeoutSeconds: 1.5, Retries: 2}, Program: "test",
		Sandbox: &sandbox.Policy{Level: sandbox.Strict, PIDs: 40}, Layers: []string{"seccomp"},
		Stack: []string{"a", "\tb"}, Stderr: []string{"last", "words"}, Goroutines: []string{"SIGQUIT", "", "goroutine 1"},
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(dossier.Dossier{}, "Written")); diff != "" || got.Written.IsZero() {
		t.Errorf("dossier (-want +got):\n%s", diff)
	}
	if text := string(readFile(t, files.Path(17, item))); !strings.Contains(text, `"item": {"number": 5,"a":"<&>"},`) {
		t.Errorf("the item is not there as it was given:\n%s", text)
	}
}

func TestADossierHasTheItemToTheByte(t *testing.T) {
	files := openDossiers(t, t.TempDir())
	for _, item := range []string{
		"1e400", ` {"a" : 1.0 }`, `"<\u0041>"`, "null", "0", "x", "", "{\n}", "\xff\x00", "\"\xff\"", `"item": 0`, "}\n{\n", `"\n}\n{\n"`,
	} {
		r := host.Result[json.RawMessage]{Err: &host.ItemError{Kind: host.KindBadItem}}
		if err := files.Write([]byte(item), &r); err != nil {
			t.Fatal(err)
		}
		got, err := dossier.Read(files.Path(0, []byte(item)))
		if err != nil || string(got.Item) != item || got.Kind != host.KindBadItem {
			t.Errorf("item %q: got %+v, %v", item, got, err)
		}
		if file := readFile(t, files.Path(0, []byte(item))); !utf8.Valid(file) || !json.Valid(file) {
			t.Errorf("item %q: the file is no JSON in UTF-8: %q", item, file)
		}
	}
}

func TestALaterDossierTakesThePlaceOfAnEarlierOne(t *testing.T) {
	dir := t.TempDir()
	files := openDossiers(t, dir)
	for _, kind := range []host.Kind{host.KindFailed, host.KindCrashed} {
		if err := files.Write([]byte("1"), &host.Result[json.RawMessage]{Err: &host.ItemError{Kind: kind}}); err != nil {
			t.Fatal(err)
		}
	}
	list, err := os.ReadDir(dir)
	if err != nil || len(list) != 1 {
		t.Fatalf("got files %v, %v, want one", list, err)
	}
	if got, err := dossier.Read(files.Path(0, []byte("1"))); err != nil || got.Kind != host.KindCrashed {
		t.Errorf("got %+v, %v, want the later one", got, err)
	}
}

func TestWhatIsNoDossierIsRefused(t *testing.T) {
	dir := t.TempDir()
	for _, text := range []string{
		"", "{}", "[]", `{"dossier":1}`, `{"dossier":2,"item":1}`, `{"dossier":1,"item":1,"index":"x"}`, "\xff",
		`{"dossier":1,"item":1,"kind":"odd"}`, `{"dossier":1,"item":1,"cause":"magic"}`, `{"dossier":1,"item":1,"mode":"\u001b[2J"}`,
		`{"dossier":1,"item":1,"index":-1}`, `{"dossier":1,"item":1,"attempts":-1}`, `{"dossier":1,"item":1,"limits":{"item_timeout_s":-1}}`,
		`{"dossier":1,"item":1,"limits":{"item_timeout_s":1e300}}`, `{"dossier":1,"item":1,"limits":{"max_result_bytes":9223372036854775807}}`,
		`{"dossier":1,"item":1,"message":"` + strings.Repeat("x", 1<<20) + `"}`, `{"dossier":1,"item":1,"origin":{"plugin":"` + strings.Repeat("x", 1<<20) + `"}}`,
		`{"dossier":1,"item":1,"origin":{"seed":-1}}`, `{"dossier":1,"item":1,"origin":{"seed":0.5}}`, `{"dossier":1,"item":1,"origin":{"seed":18446744073709551616}}`,
		`{"dossier":1,"item":1,"origin":{"seed":"1"}}`,
	} {
		path := filepath.Join(dir, "file")
		writeFile(t, path, []byte(text))
		if got, err := dossier.Read(path); err == nil {
			t.Errorf("%q: got %+v, want an error", text, got)
		}
	}
	if _, err := dossier.Read(filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: got %v, want %v", err, os.ErrNotExist)
	}
	if _, err := dossier.Open(filepath.Join(dir, "file"), "", origin, host.Config{}); err == nil {
		t.Error("a file in the folder's place: no error")
	}
}

// Whatever cause the host gives for a death, its dossier must be readable again.
func TestEachCauseIsReadBack(t *testing.T) {
	files := openDossiers(t, t.TempDir())
	for _, cause := range protocol.Causes() {
		r := host.Result[json.RawMessage]{Err: &host.ItemError{Kind: host.KindCrashed, Cause: cause}}
		if err := files.Write([]byte("1"), &r); err != nil {
			t.Fatal(err)
		}
		if got, err := dossier.Read(files.Path(0, []byte("1"))); err != nil || got.Cause != cause {
			t.Errorf("cause %q: got %+v, %v", cause, got, err)
		}
	}
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func writeFile(t *testing.T, path string, text []byte) {
	t.Helper()
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}
