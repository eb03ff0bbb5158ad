package main

import (
	"bufio"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/parhost/parhost/internal/family"
)

// make kill-loop sets these flags higher.
var (
	killCount = flag.Int("kills", 10, "how often the tests of --resume kill the host")
	killItems = flag.Int("items", 1500, "how many items that run has")
)

// killed starts the command, kills it with SIGKILL at a random moment, and returns what it wrote to stdout. The moment is at most the time most after
// its start or, because a start takes long, after its first result. over says that the command had already ended.
func killed(t *testing.T, most time.Duration, args ...string) (stdout []byte, over bool) {
	t.Helper()
	cmd := command(t, args...)
	mark := fmt.Sprintf("%016x%016x", rand.Uint64(), rand.Uint64())
	cmd.Env = append(os.Environ(), family.Env+"="+mark+".1") // everything that the command starts inherits the mark
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill := func() *time.Timer { return time.AfterFunc(rand.N(most), func() { _ = cmd.Process.Kill() }) }
	r := bufio.NewReader(out)
	if rand.N(4) == 0 {
		defer kill().Stop()
	} else if _, err := r.Peek(1); err == nil {
		defer kill().Stop()
	}
	stdout, err = io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	code := exitOf(t, cmd)
	if code > exitFailed {
		t.Fatalf("exit code %d: %s", code, &stderr)
	}
	waitUnmarked(t, mark, time.Now().Add(time.Second))
	return stdout, code >= 0
}

// waitUnmarked waits until no process has the mark in its environment. Without /proc it does nothing.
func waitUnmarked(t *testing.T, mark string, deadline time.Time) {
	t.Helper()
	for tick := time.NewTicker(10 * time.Millisecond); ; <-tick.C {
		environs, _ := filepath.Glob("/proc/[0-9]*/environ") // the error is only for a malformed pattern
		var alive []string
		for _, path := range environs {
			if text, err := os.ReadFile(path); err == nil && bytes.Contains(text, []byte(mark)) {
				alive = append(alive, path)
			}
		}
		if len(alive) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("a second after the end of the host: %v are alive", alive)
		}
	}
}

// wholeLines removes an incomplete last line of a killed writer.
func wholeLines(text []byte) []byte { return text[:bytes.LastIndexByte(text, '\n')+1] }

// recordsIn counts the records in a journal.
func recordsIn(t *testing.T, path string) int {
	t.Helper()
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return 0
	}
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Count(text, []byte("\n{\"n\":"))
}

// A run that is killed again and again must give the same output, byte for byte, as a run without interruption, and must not lose any result that it
// has shown.
func TestAKilledRunGoesOnAsIfNothingHadHappened(t *testing.T) {
	dir := t.TempDir()
	input, journal := filepath.Join(dir, "items"), filepath.Join(dir, "run.joblog")
	var items strings.Builder
	for i := range *killItems {
		switch {
		case i%100 == 17: // the workload refuses the item
			fmt.Fprintf(&items, "-%d\n", i)
		case i%100 == 42: // not a valid item
			fmt.Fprintf(&items, "x%d\n\n", i)
		case i%10 == 3: // equal to earlier items
			fmt.Fprintf(&items, "0.003\n")
		default:
			fmt.Fprintf(&items, "0.00%d\n", 200_000+i)
		}
	}
	if err := os.WriteFile(input, []byte(items.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	code, want, stderr := call(t, nil, "-p", "sleep", "-i", input, "-o", "values", "--procs", "16", "--progress", "none")
	if code != exitFailed {
		t.Fatalf("undisturbed: exit code %d: %s", code, stderr)
	}
	// With 4 processes the run takes items × 0.6 ms. The kills leave about a quarter of the run undone.
	most := time.Duration(*killItems) * 900 * time.Microsecond / time.Duration(*killCount)
	args := []string{"-p", "sleep", "-i", input, "-o", "values", "--procs", "4", "--progress", "none", "--joblog", journal, "--resume"}
	shown, midway := 0, 0
	for n := range *killCount {
		stdout, over := killed(t, most, args...)
		stdout = wholeLines(stdout)
		if !strings.HasPrefix(want, string(stdout)) {
			t.Fatalf("kill %d: the output is not how that of an undisturbed run begins", n+1)
		}
		lines, records := bytes.Count(stdout, []byte("\n")), recordsIn(t, journal)
		if lines > records {
			t.Fatalf("kill %d: %d results were shown, and %d records are in the journal", n+1, lines, records)
		}
		if !over && records > shown && records < *killItems {
			midway++
		}
		shown = max(shown, records)
	}
	code, got, stderr := call(t, nil, args...)
	if code != exitFailed || got != want {
		t.Errorf("after %d kills: got exit code %d and %d bytes, want %d and the %d bytes of an undisturbed run; stderr: %s",
			*killCount, code, len(got), exitFailed, len(want), stderr)
	}
	t.Logf("%d of %d kills hit a run that had just written records and was to write more; %d of %d items were left for the last run",
		midway, *killCount, *killItems-shown, *killItems)
	if midway < *killCount/4 {
		t.Errorf("%d of %d kills hit a run in its middle: the test shows nothing", midway, *killCount)
	}
}

// All items are equal and the workload draws random numbers, so a result that was shown and then lost would come back with another value.
func TestWhatAKilledRunHasShownStays(t *testing.T) {
	journal := filepath.Join(t.TempDir(), "run.joblog")
	args := []string{
		"-p", "reduce", "-o", "values", "--procs", "2", "--progress", "none", "--joblog", journal, "--resume",
		"--repeat", fmt.Sprint(*killItems), `{"number":3,"range":1000000000}`,
	}
	var seen []byte
	for n := range *killCount {
		stdout, _ := killed(t, 50*time.Millisecond, args...)
		stdout = wholeLines(stdout)
		if common := min(len(seen), len(stdout)); !bytes.Equal(seen[:common], stdout[:common]) {
			t.Fatalf("kill %d: results that had been shown have changed", n+1)
		}
		if len(stdout) > len(seen) {
			seen = stdout
		}
	}
	code, stdout, stderr := call(t, nil, args...)
	if code != exitOK || !strings.HasPrefix(stdout, string(seen)) || strings.Count(stdout, "\n") != *killItems {
		t.Errorf("got exit code %d and %d results, want %d and %d, beginning with what had been shown; stderr: %s",
			code, strings.Count(stdout, "\n"), exitOK, *killItems, stderr)
	}
}

func TestResumeAfterAnInterrupt(t *testing.T) {
	journal := filepath.Join(t.TempDir(), "run.joblog")
	args := []string{"-p", "sleep", "--procs", "2", "-o", "values", "--joblog", journal, "--repeat", "60", "0.02"}
	cmd, stdout, stderr := start(t, args...)
	shown := 0
	for stdout.Scan() {
		if shown++; shown == 5 {
			if err := cmd.Process.Signal(os.Interrupt); err != nil {
				t.Skip("signals cannot be sent here: ", err)
			}
		}
	}
	if code := exitOf(t, cmd); code != exitInterrupted || !strings.Contains(stderr.String(), "with --resume goes on") {
		t.Errorf("got exit code %d and %q, want %d and how to go on", code, stderr, exitInterrupted)
	}
	if records := recordsIn(t, journal); records < shown || records == 60 {
		t.Errorf("%d records after %d results were shown and the run was interrupted", records, shown)
	}
	code, out, _ := call(t, nil, append(args, "--resume")...)
	if code != exitOK || out != strings.Repeat("0.02\n", 60) {
		t.Errorf("resumed: got exit code %d and %d results, want %d and 60", code, strings.Count(out, "\n"), exitOK)
	}
}

func TestResumeAfterAReaderHasGone(t *testing.T) {
	const items = 300_000 // more than fits into pipes and buffers
	journal := filepath.Join(t.TempDir(), "run.joblog")
	args := []string{"-p", "sqrt", "-o", "values", "--progress", "none", "--range", fmt.Sprintf("0:%d", items), "--joblog", journal}
	cmd := command(t, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "0\n" {
		t.Fatalf("first line: got %q, %v", line, err)
	}
	_ = out.Close()
	if code := exitOf(t, cmd); code != exitOK || stderr.Len() > 0 {
		t.Errorf("got exit code %d and %q, want %d and no word", code, &stderr, exitOK)
	}
	_, want, _ := call(t, nil, args[:len(args)-2]...)
	code, got, errs := call(t, nil, append(args, "--resume")...)
	if code != exitOK || got != want || !strings.Contains(errs, "from the joblog") {
		t.Errorf("resumed: got exit code %d, %d bytes and %q, want %d, the %d bytes of an undisturbed run, some from the joblog",
			code, len(got), errs, exitOK, len(want))
	}
}

func TestTheHolderOfAJournalIsNamed(t *testing.T) {
	journal := filepath.Join(t.TempDir(), "run.joblog")
	cmd, stdout, _ := start(t, "-p", "sleep", "--procs", "1", "-o", "values", "--joblog", journal, "0.001", "3600")
	if !stdout.Scan() {
		t.Fatal("no result")
	}
	code, _, stderr := call(t, nil, "-p", "sleep", "--joblog", journal, "--resume", "0.001")
	if want := fmt.Sprintf("joblog %q is in use by process %d\n", journal, cmd.Process.Pid); code != exitUsage || !strings.Contains(stderr, want) {
		t.Errorf("got exit code %d and %q, want %d and %q", code, stderr, exitUsage, want)
	}
	_ = cmd.Process.Kill()
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if code, out, stderr := call(t, nil, "-p", "sleep", "-o", "values", "--joblog", journal, "--resume", "0.001"); code != exitOK || out != "0.001\n" {
		t.Errorf("once the holder was killed: got exit code %d, %q and %q, want %d", code, out, stderr, exitOK)
	}
}

func TestAnotherBuildOfThePluginIsRefused(t *testing.T) {
	dir := t.TempDir()
	journal, plugin := filepath.Join(dir, "run.joblog"), filepath.Join(dir, "parhost-plugin-sqrt")
	build := func(flags ...string) {
		t.Helper()
		cmd := exec.Command("go", append(append([]string{"build", "-o", plugin}, flags...), "../../plugins/sqrt/parhost-plugin-sqrt")...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	build()
	if code, _, stderr := call(t, nil, "-p", plugin, "-o", "none", "--joblog", journal, "4"); code != exitOK {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	build("-ldflags", "-X main.build=2 -s")
	code, _, stderr := call(t, nil, "-p", plugin, "-o", "none", "--joblog", journal, "--resume", "4")
	if code != exitUsage || !strings.Contains(stderr, "the plugin was "+plugin+" with SHA-256 ") || !strings.Contains(stderr, "--resume-anyway") {
		t.Errorf("got exit code %d and %q, want %d, both checksums, and the flag that helps", code, stderr, exitUsage)
	}
	code, _, stderr = call(t, nil, "-p", plugin, "-o", "none", "--joblog", journal, "--resume-anyway", "4")
	if code != exitOK || !strings.Contains(stderr, "1 from the joblog") {
		t.Errorf("with --resume-anyway: got exit code %d and %q, want %d and the result from the joblog", code, stderr, exitOK)
	}
}
