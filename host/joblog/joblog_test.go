package joblog_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/host/joblog"
	"github.com/parhost/parhost/host/sandbox"
	"github.com/parhost/parhost/plugins/sqrt"
)

func anyway(c *joblog.Config)      { c.Anyway = true }
func anew(c *joblog.Config)        { c.Resume = false }
func retryFailed(c *joblog.Config) { c.RetryFailed = true }
func otherBuild(c *joblog.Config)  { c.Origin.SHA256 = strings.Repeat("a5", 32) }

func TestResumeAnswersFromTheJournal(t *testing.T) {
	path := newPath(t)
	want := runAll(t, openPool(t, echo), path, texts("1", `"f"`, "1", `"b"`), anew)
	never := openPool(t, func(_ context.Context, item json.RawMessage) (json.RawMessage, error) {
		t.Errorf("item %s runs again", item)
		return nil, nil
	})
	j := openJournal(t, path)
	if got := j.Contents(); got != (joblog.Contents{Items: 4, Failed: 1}) {
		t.Errorf("contents: got %+v, want 4 items, one failed", got)
	}
	if diff := cmp.Diff(want, lines(j.Stream(t.Context(), never, texts("1", `"f"`, "1", `"b"`)), all)); diff != "" {
		t.Errorf("results (-first run +resumed):\n%s", diff)
	}
	if j.Replayed() != 4 {
		t.Errorf("replayed: got %d, want 4", j.Replayed())
	}
}

func TestItemsAreKnownByTheirTextAndNotByTheirPlace(t *testing.T) {
	path := newPath(t)
	runAll(t, openPool(t, echo), path, texts("1", "2", "2", `"f"`))
	ran := make(chan string, 10)
	p := openPool(t, func(ctx context.Context, item json.RawMessage) (json.RawMessage, error) {
		ran <- string(item)
		return echo(ctx, item)
	})
	got := runAll(t, p, path, texts("0", `"f"`, "2", "2", "2", "1"))
	want := []string{"item 0: [0]", `item 1: failed: "f" is refused`, "item 2: [2]", "item 3: [2]", "item 4: [2]", "item 5: [1]"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("results (-want +got):\n%s", diff)
	}
	close(ran)
	var again []string
	for item := range ran {
		again = append(again, item)
	}
	slices.Sort(again)
	if want := []string{"0", "2"}; !slices.Equal(again, want) { // item 0 is new, and of the three items 2 the journal had two
		t.Errorf("ran: got %q, want %q", again, want)
	}
}

// A result that was yielded for one of several equal items must not change later, even if the workload returns a new value on each call.
func TestEqualItemsKeepTheirResults(t *testing.T) {
	path := newPath(t)
	calls := make(chan int, 1)
	calls <- 0
	p := openPool(t, func(context.Context, json.RawMessage) (json.RawMessage, error) {
		n := <-calls
		calls <- n + 1
		return json.Marshal(n)
	})
	items := func(yield func(json.RawMessage) bool) {
		for range 2000 {
			if !yield(json.RawMessage(`"same"`)) {
				return
			}
		}
	}
	var seen []string
	for len(seen) < 2000 {
		j := openJournal(t, path)
		got := lines(j.Stream(t.Context(), p, items), min(2000, len(seen)+401))
		closeJournal(t, j)
		if !slices.Equal(seen, got[:len(seen)]) {
			t.Fatalf("results that had been seen have changed (-seen +now):\n%s", cmp.Diff(seen, got[:len(seen)]))
		}
		seen = got
	}
}

// A killed run leaves gaps in the journal: items that were still running while later ones had finished.
func TestAGapAmongEqualItemsMovesNoResult(t *testing.T) {
	path := newPath(t)
	calls := make(chan int, 1)
	calls <- 0
	p := openPool(t, func(context.Context, json.RawMessage) (json.RawMessage, error) {
		n := <-calls
		calls <- n + 1
		return json.Marshal(n)
	})
	items := texts("0", "0", "0", "0", "0", "0")
	first := runAll(t, p, path, items)
	at := regexp.MustCompile(`(?m)^.*"occurrence":2,.*\n`).FindIndex(readFile(t, path))
	text := readFile(t, path)
	writeFile(t, path, slices.Delete(text, at[0], at[1]))
	j := openJournal(t, path)
	second := lines(j.Stream(t.Context(), p, items), 4)
	closeJournal(t, j)
	want := slices.Clone(first)
	want[2] = "item 2: 6" // the workload's seventh call ran this item
	if !slices.Equal(second, want[:4]) {
		t.Errorf("with a gap: got %q, want %q", second, want[:4])
	}
	if third := runAll(t, p, path, items); !slices.Equal(third, want) {
		t.Errorf("once the gap is filled: got %q, want %q", third, want)
	}
}

func TestAJournalCutAnywhereGoesOn(t *testing.T) {
	path := newPath(t)
	p := openPool(t, echo)
	items := texts("1", "1", `"f"`)
	want := runAll(t, p, path, items)
	whole := readFile(t, path)
	for n := range whole {
		writeFile(t, path, whole[:n])
		j := openJournal(t, path)
		complete := max(0, bytes.Count(whole[:n], []byte("\n"))-1)
		if got := j.Contents(); got.Items != complete || got.Damaged != 0 {
			t.Errorf("cut at byte %d: got %+v, want %d items", n, got, complete)
		}
		if diff := cmp.Diff(want, lines(j.Stream(t.Context(), p, items), all)); diff != "" {
			t.Errorf("cut at byte %d: results (-want +got):\n%s", n, diff)
		}
		closeJournal(t, j)
		j = openJournal(t, path)
		if got := j.Contents(); got.Items != 3 || got.Damaged != 0 || got.TornBytes != 0 {
			t.Errorf("cut at byte %d, then run: got %+v, want 3 items and no harm", n, got)
		}
		closeJournal(t, j)
	}
}

func TestADamagedRecordRunsAgain(t *testing.T) {
	path := newPath(t)
	p := openPool(t, echo)
	want := runAll(t, p, path, numbers(100))
	text := readFile(t, path)
	at := bytes.Index(text, []byte("[50]"))
	text[at+1] = '6'
	writeFile(t, path, text)
	j := openJournal(t, path)
	if got := j.Contents(); got.Items != 99 || got.Damaged != 1 {
		t.Errorf("got %+v, want 99 items and a damaged one", got)
	}
	if diff := cmp.Diff(want, lines(j.Stream(t.Context(), p, numbers(100)), all)); diff != "" {
		t.Errorf("results (-want +got):\n%s", diff)
	}
	if got := j.Replayed(); got != 99 {
		t.Errorf("replayed: got %d, want 99", got)
	}
}

func TestWhatIsNoJournalIsLeftAsItIs(t *testing.T) {
	for name, text := range map[string]string{
		"text":                  "a letter to a friend\n",
		"text without an end":   "a letter",
		"items":                 "1\n2\n3\n",
		"records of --output":   `{"index":0,"value":2,"worker":1,"pid":991,"attempts":1,"wait_ms":0.1,"run_ms":0.01}` + "\n",
		"another format":        `{"joblog":2,"sha256":""}` + "\n",
		"a header without sum":  `{"joblog":1,"sha256":""}` + "\n",
		"a long line":           strings.Repeat("x", 1<<20),
		"the magic and a novel": `{"joblog":` + strings.Repeat("x", 1<<20),
		"zeros":                 string(make([]byte, 100)),
		"line breaks":           "\n\n\n",
	} {
		t.Run(name, func(t *testing.T) {
			path := newPath(t)
			writeFile(t, path, []byte(text))
			_, err := joblog.Open(joblog.Config{Path: path, Origin: origin, Resume: true, Anyway: true})
			if foreign, ok := errors.AsType[*joblog.ForeignError](err); !ok || foreign.Path != path {
				t.Errorf("got %v, want a ForeignError", err)
			}
			if got := string(readFile(t, path)); got != text {
				t.Errorf("the file has changed: %.100q, want %.100q", got, text)
			}
		})
	}
}

func TestWhatIsNoFileIsRefused(t *testing.T) {
	dir := t.TempDir()
	for name, path := range map[string]string{"folder": dir, "device": os.DevNull} {
		if _, err := joblog.Open(joblog.Config{Path: path}); !errors.As(err, new(*joblog.ForeignError)) {
			t.Errorf("%s: got %v, want a ForeignError", name, err)
		}
	}
	if _, err := joblog.Open(joblog.Config{Path: filepath.Join(dir, "no", "folder")}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a path that leads nowhere: got %v, want %v", err, os.ErrNotExist)
	}
}

func TestResultsAreNotForgottenUnasked(t *testing.T) {
	path := newPath(t)
	runAll(t, openPool(t, echo), path, texts("1", "2"), anew)
	before := readFile(t, path)
	_, err := joblog.Open(joblog.Config{Path: path, Origin: origin})
	if finished, ok := errors.AsType[*joblog.FinishedError](err); !ok || finished.Items != 2 {
		t.Errorf("without Resume: got %v, want a FinishedError with 2 items", err)
	}
	if !bytes.Equal(before, readFile(t, path)) {
		t.Error("the refused file has changed")
	}
}

func TestOneAtATime(t *testing.T) {
	path := newPath(t)
	j := openJournal(t, path)
	if _, err := joblog.Open(joblog.Config{Path: path}); !errors.As(err, new(*joblog.InUseError)) {
		t.Errorf("while it is open: got %v, want an InUseError", err)
	}
	closeJournal(t, j)
	closeJournal(t, openJournal(t, path))
}

func TestResultsOfSomethingElseAreRefused(t *testing.T) {
	path := newPath(t)
	p := openPool(t, echo)
	runAll(t, p, path, texts("1"), func(c *joblog.Config) { c.Origin.Arguments = map[string]string{"env A": "1", "env B": "2"} })
	before := readFile(t, path)
	for name, c := range map[string]struct {
		change func(*joblog.Origin)
		want   string
	}{
		"build":    {func(o *joblog.Origin) { o.SHA256 = "0123456789abcdef" }, "the plugin was /plugin with SHA-256 5a5a5a5a5a5a and is /plugin with 0123456789ab"},
		"workload": {func(o *joblog.Origin) { o.Workload = "other" }, `the workload was "test" and is "other"`},
		"more":     {func(o *joblog.Origin) { o.Arguments["env C"] = "1" }, "env C was not set and is"},
		"less":     {func(o *joblog.Origin) { delete(o.Arguments, "env A") }, "env A was set and is not"},
		"changed":  {func(o *joblog.Origin) { o.Arguments["env A"] = "2" }, "env A has another value"},
	} {
		t.Run(name, func(t *testing.T) {
			o := origin
			o.Arguments = map[string]string{"env A": "1", "env B": "2"}
			c.change(&o)
			_, err := joblog.Open(joblog.Config{Path: path, Origin: o, Resume: true})
			if other, ok := errors.AsType[*joblog.OriginError](err); !ok || !slices.Equal(other.Differences, []string{c.want}) {
				t.Errorf("got %v, want an OriginError that says %q", err, c.want)
			}
			if !bytes.Equal(before, readFile(t, path)) {
				t.Error("the refused file has changed")
			}
		})
	}
	o := origin
	o.Plugin, o.Arguments = "/moved/plugin", map[string]string{"env A": "1", "env B": "2"}
	j, err := joblog.Open(joblog.Config{Path: path, Origin: o, Resume: true})
	if err != nil {
		t.Fatalf("the same plugin at another place: %v", err)
	}
	closeJournal(t, j)
}

func TestResultsOfSomethingElseAreKeptWhenThatIsSaid(t *testing.T) {
	path := newPath(t)
	p := openPool(t, echo)
	runAll(t, p, path, texts("1"))
	got := runAll(t, p, path, texts("1", "2"), otherBuild, anyway)
	if want := []string{"item 0: [1]", "item 1: [2]"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	closeJournal(t, openJournal(t, path, otherBuild)) // now the journal belongs to the other build
	if _, err := joblog.Open(joblog.Config{Path: path, Origin: origin, Resume: true}); !errors.As(err, new(*joblog.OriginError)) {
		t.Errorf("the first build again: got %v, want an OriginError", err)
	}
}

func TestFailedItemsRunAgainWhenThatIsSaid(t *testing.T) {
	path := newPath(t)
	items := texts("1", `"f"`, `"f"`, "2")
	failed := runAll(t, openPool(t, echo), path, items)
	if diff := cmp.Diff(failed, runAll(t, openPool(t, echo), path, items)); diff != "" {
		t.Errorf("unasked (-first run +resumed):\n%s", diff)
	}
	for range 3 { // each time, the new records of the failed items replace the earlier ones
		if diff := cmp.Diff(failed, runAll(t, openPool(t, echo), path, items, retryFailed)); diff != "" {
			t.Errorf("failing again (-first run +resumed):\n%s", diff)
		}
	}
	mended := openPool(t, func(_ context.Context, item json.RawMessage) (json.RawMessage, error) { return item, nil })
	want := []string{"item 0: [1]", `item 1: "f"`, `item 2: "f"`, "item 3: [2]"}
	for _, how := range []func(*joblog.Config){retryFailed, func(*joblog.Config) {}} {
		j := openJournal(t, path, how)
		if diff := cmp.Diff(want, lines(j.Stream(t.Context(), mended, items), all)); diff != "" {
			t.Errorf("mended (-want +got):\n%s", diff)
		}
		closeJournal(t, j)
	}
	j := openJournal(t, path)
	if got := j.Contents(); got.Items != 4 || got.Failed != 0 {
		t.Errorf("got %+v, want 4 items, none failed", got)
	}
}

func needCompaction(t *testing.T) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("Windows does not replace a file that is open, so journals are not compacted there")
	}
}

func TestDeadWeightGoes(t *testing.T) {
	needCompaction(t)
	path := newPath(t)
	p := openPool(t, echo)
	items := texts("1", `"f1"`, `"f2"`, `"f2"`, `"f3"`)
	want := runAll(t, p, path, items)
	size := len(readFile(t, path))
	writeFile(t, filepath.Join(filepath.Dir(path), ".run.joblog.compact"), []byte("of a program that was killed on the way"))
	compacted := 0
	for range 20 {
		j := openJournal(t, path, retryFailed)
		if j.Contents().Compacted {
			compacted++
			if got := len(readFile(t, path)); got > size+100 { // the times in the records vary in their number of digits
				t.Errorf("%d bytes after compaction, want about the %d of the first run", got, size)
			}
		}
		if diff := cmp.Diff(want, lines(j.Stream(t.Context(), p, items), all)); diff != "" {
			t.Fatalf("results (-want +got):\n%s", diff)
		}
		closeJournal(t, j)
	}
	if compacted < 5 {
		t.Errorf("compacted %d times in 20 runs that made four of five records void", compacted)
	}
	if diff := cmp.Diff(want, runAll(t, p, path, items)); diff != "" {
		t.Errorf("without running any (-want +got):\n%s", diff)
	}
	left, err := filepath.Glob(filepath.Join(filepath.Dir(path), ".*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %q, %v", left, err)
	}
}

func TestACompactedJournalIsStillLocked(t *testing.T) {
	needCompaction(t)
	path := newPath(t)
	p := openPool(t, echo)
	for range 3 {
		runAll(t, p, path, texts(`"f"`), retryFailed)
	}
	j := openJournal(t, path)
	if !j.Contents().Compacted {
		t.Fatalf("not compacted: %+v", j.Contents())
	}
	if _, err := joblog.Open(joblog.Config{Path: path}); !errors.As(err, new(*joblog.InUseError)) {
		t.Errorf("got %v, want an InUseError", err)
	}
}

func TestTheFileBehindALinkIsTheJournal(t *testing.T) {
	needCompaction(t)
	path := newPath(t)
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(path, link); err != nil {
		t.Skip("there are no symbolic links here: ", err)
	}
	p := openPool(t, echo)
	for range 4 { // a compaction must replace the file, not the link
		runAll(t, p, link, texts(`"f"`), retryFailed)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link is no link any more: %v, %v", info, err)
	}
	if got := openJournal(t, path).Contents(); got.Items != 1 {
		t.Errorf("behind the link: got %+v, want an item", got)
	}
}

func TestOriginIsTheExecutableAndItsSettings(t *testing.T) {
	dir := t.TempDir()
	exe := filepath.Join(dir, "parhost-plugin-x")
	if err := os.WriteFile(exe, []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	const sum = "a8076d3d28d21e02012b20eaf7dbf75409a6277134439025f282e368e3305abf" // from sha256sum
	o, err := joblog.OriginOf(host.Config{Plugin: exe, Env: []string{"TOKEN=secret"}, Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("%+v", o)
	if o.SHA256 != sum || o.Plugin != exe || o.Workload != "" || o.Arguments["env TOKEN"] == "" || o.Arguments["dir"] != dir || strings.Contains(text, "secret") {
		t.Errorf("of an executable: got %s", text)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if o, err = joblog.OriginOf(host.Config{Workload: sqrt.Workload}); err != nil || o.Plugin != self || o.Workload != "sqrt" || len(o.SHA256) != 64 {
		t.Errorf("of a workload that is linked in: got %+v, %v", o, err)
	}
	if _, err = joblog.OriginOf(host.Config{Plugin: filepath.Join(dir, "none")}); !errors.Is(err, host.ErrNotFound) {
		t.Errorf("of no plugin: got %v, want ErrNotFound", err)
	}
}

// No result may be recorded under the checksum of a file that the pool does not run.
func TestAPluginThatIsReplacedBeforeItsPoolIsOpenedIsNotRecorded(t *testing.T) {
	plugin := filepath.Join(t.TempDir(), "parhost-plugin-sqrt")
	if out, err := exec.Command("go", "build", "-o", plugin, "../../plugins/sqrt/parhost-plugin-sqrt").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	cfg := host.Config{Plugin: plugin, Workers: 1}
	of, err := joblog.OriginOf(cfg)
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(plugin)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.WriteFile(plugin+".new", append(program, 0), 0o700), os.Rename(plugin+".new", plugin)); err != nil {
		t.Fatal(err)
	}
	pool, err := host.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	path := newPath(t)
	j := openJournal(t, path, func(c *joblog.Config) { c.Origin = of })
	for r, err := range j.Stream(t.Context(), pool, texts("1", "4")) {
		if !errors.As(err, new(*sandbox.ChangedError)) {
			t.Errorf("got %v and the error %v, want a ChangedError", r, err)
		}
	}
	closeJournal(t, j)
	if got := openJournal(t, path, func(c *joblog.Config) { c.Origin = of }).Contents(); got.Items != 0 {
		t.Errorf("got %+v, want no items", got)
	}
	if of, err = joblog.OriginOf(cfg); err != nil || of.Check(pool) != nil {
		t.Errorf("of the new file: got %v and %v", err, of.Check(pool))
	}
}

// FuzzOpen appends arbitrary bytes to the records of a journal, and also overwrites records with them. Each record that can still be read must be
// used, and the other items must run again.
func FuzzOpen(f *testing.F) {
	path := filepath.Join(f.TempDir(), "run.joblog")
	pool, err := host.Open(f.Context(), host.Config{Workload: sqrt.Workload, Mode: host.ModeSequential})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = pool.Close() })
	cfg := joblog.Config{Path: path, Origin: origin, Resume: true}
	run := func(t testing.TB) ([]string, joblog.Contents) {
		j, err := joblog.Open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		out := lines(j.Stream(t.Context(), pool, texts("4", "-1", "4", "x")), all)
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		return out, j.Contents()
	}
	want, _ := run(f)
	whole, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	begin := bytes.IndexByte(whole, '\n') + 1
	f.Add(len(whole), []byte(nil))
	f.Add(begin, whole[begin:])
	f.Add(begin+70, []byte("\n"))
	f.Add(len(whole)-20, []byte(`"}`))
	f.Add(len(whole), bytes.Repeat([]byte{0}, 5000))
	f.Add(begin, bytes.Repeat([]byte("\n"), 100))
	f.Fuzz(func(t *testing.T, at int, text []byte) {
		if at < begin || at > len(whole) {
			return
		}
		if err := os.WriteFile(path, append(slices.Clone(whole[:at]), text...), 0o600); err != nil {
			t.Fatal(err)
		}
		for round := range 2 {
			got, c := run(t)
			if intact := bytes.Count(whole[begin:at], []byte("\n")); c.Items < intact {
				t.Errorf("round %d: %d items read, and %d records are whole", round, c.Items, intact)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("round %d: results (-want +got):\n%s", round, diff)
			}
			if round == 1 && c.TornBytes > 0 {
				t.Errorf("torn again after it had been repaired: %+v", c)
			}
		}
	})
}

func TestAJournalStaysWhereItWasOpened(t *testing.T) {
	p, dir := openPool(t, echo), t.TempDir()
	t.Chdir(dir)
	j := openJournal(t, "run.joblog")
	t.Chdir(t.TempDir())
	if got := lines(j.Stream(t.Context(), p, texts("1")), all); !slices.Equal(got, []string{"item 0: [1]"}) {
		t.Errorf("Stream: got %q", got)
	}
	closeJournal(t, j)
}
