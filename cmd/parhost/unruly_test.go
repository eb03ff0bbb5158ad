//go:build unix

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/parhost/parhost/host/dossier"
)

// unruly returns the path of the example plugin unruly, and lets builds use a cache of the test's own.
func unruly(t *testing.T) string {
	t.Helper()
	for key, value := range goEnv() {
		t.Setenv(key, value)
	}
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	return "../../examples/unruly"
}

// unrulyItems returns n items of unruly, of which item number at does something else.
func unrulyItems(n, at int, do string) *bytes.Buffer {
	var items bytes.Buffer
	for i := range n {
		if i == at {
			fmt.Fprintf(&items, `{"n":%d,"do":%q}`+"\n", i, do)
		} else {
			fmt.Fprintf(&items, `{"n":%d}`+"\n", i)
		}
	}
	return &items
}

func TestOneBadItemAmongThousandsFailsAlone(t *testing.T) {
	plugin := unruly(t)
	for do, kind := range map[string]string{"fail": "failed", "panic": "panic", "exit": "crashed", "kill": "crashed", "overflow": "crashed", "hang": "timeout", "spin": "timeout", "dance": "bad_item"} {
		t.Run(do, func(t *testing.T) {
			const n, at = 5000, 2500
			dossiers := filepath.Join(t.TempDir(), "failed")
			begun := time.Now()
			code, out, stderr := call(t, unrulyItems(n, at, do), "-p", plugin, "-j", "2", "--item-timeout", "300ms", "--dossier", dossiers, "-o", "jsonl", "-i", "-", "--progress", "none")
			if code != exitFailed {
				t.Fatalf("got exit code %d, want %d; stderr: %s", code, exitFailed, stderr)
			}
			t.Logf("the run took %v", time.Since(begun))
			seen := 0
			for line := range strings.Lines(out) {
				var r struct {
					Index, Value int
					Error        *struct{ Kind string }
				}
				if err := json.Unmarshal([]byte(line), &r); err != nil {
					t.Fatalf("%q: %v", line, err)
				}
				switch {
				case r.Index != seen:
					t.Fatalf("got item %d in the place of item %d", r.Index, seen)
				case r.Index == at && (r.Error == nil || r.Error.Kind != kind):
					t.Errorf("the bad item: got %s, want %s", line, kind)
				case r.Index != at && (r.Error != nil || r.Value != r.Index*r.Index):
					t.Errorf("another item: got %s, want %d", line, r.Index*r.Index)
				}
				seen++
			}
			if seen != n {
				t.Errorf("got %d records, want %d", seen, n)
			}
			checkDossier(t, dossiers, kind)
		})
	}
}

// checkDossier checks that there is exactly one dossier, and that it has the facts that its kind requires.
func checkDossier(t *testing.T, dir, kind string) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "item-002500-*.json"))
	all, _ := os.ReadDir(dir)
	if err != nil || len(paths) != 1 || len(all) != 1 {
		t.Fatalf("got the dossiers %v, want one of item 2500", all)
	}
	d, err := dossier.Read(paths[0])
	if err != nil {
		t.Fatal(err)
	}
	if string(d.Kind) != kind {
		t.Errorf("the dossier: got %s, want %s", d.Kind, kind)
	}
	if text, err := os.ReadFile(paths[0]); err != nil || kind == "timeout" && !strings.Contains(string(text), "main.square(") {
		t.Errorf("the dossier of an item that was killed: got %s, %v, want its stack", text, err)
	}
}

// A worker that was killed had an item, which must run once more.
func TestAWorkerKilledFromOutsideCostsNoResult(t *testing.T) {
	cmd, stdout, stderr := start(t, "-p", "sleep", "-j", "4", "--repeat", "40", "-o", "jsonl", "--progress", "none", "0.05")
	killed, results, retried := 0, 0, 0
	for stdout.Scan() {
		var r struct{ Index, PID, Attempts int }
		if err := json.Unmarshal(stdout.Bytes(), &r); err != nil || r.PID == 0 || r.Index != results {
			t.Fatalf("got %q, %v, want the record of item %d", stdout.Text(), err, results)
		}
		if results++; results == 5 { // 35 items are still to run
			killed = r.PID
			if err := syscall.Kill(killed, syscall.SIGKILL); err != nil {
				t.Errorf("kill %d: %v", killed, err)
			}
		}
		retried += r.Attempts - 1
	}
	if err := cmd.Wait(); err != nil || results != 40 {
		t.Errorf("got %d results, %v, want 40; stderr: %s", results, err, stderr)
	}
	if !strings.Contains(stderr.String(), "pid="+strconv.Itoa(killed)) {
		t.Errorf("stderr: got %q, want word of the death of process %d", stderr, killed)
	}
	t.Logf("%d items were begun again", retried)
}
