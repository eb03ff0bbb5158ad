package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/iotest"
	"time"
)

// call runs the command inside the test process and returns its exit code and its output.
func call(t *testing.T, stdin io.Reader, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out bytes.Buffer
	var err console
	code = run(context.Background(), args, stdin, &out, &err)
	return code, out.String(), err.text.String()
}

// console is a stderr to which the logger and others write at the same time, as they may with a file.
type console struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (c *console) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.text.Write(b)
}

func TestExitCodes(t *testing.T) {
	dir := t.TempDir()
	dies := filepath.Join(dir, "dies")
	if err := os.WriteFile(dies, []byte("#!/bin/sh\nexit 7\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		want int
		args []string
	}{
		"every item ok":                   {exitOK, []string{"-p", "sqrt", "-o", "none", "4"}},
		"help":                            {exitOK, []string{"--help"}},
		"some items failed":               {exitFailed, []string{"-p", "sqrt", "-o", "none", "--", "-1", "4"}},
		"some items failed on goroutines": {exitFailed, []string{"-p", "sqrt", "-o", "none", "--mode", "goroutine", "--", "-1", "4"}},
		"stopped at a failure":            {exitFailed, []string{"-p", "sqrt", "-o", "none", "--on-error", "stop", "--", "-1", "4"}},
		"deadline passed":                 {exitFailed, []string{"-p", "sleep", "-o", "none", "--run-deadline", "50ms", "10"}},
		"modes disagree":                  {exitFailed, []string{"-p", "fickle", "--procs", "2", "--compare", "1", "2"}},
		"no plugin":                       {exitUsage, []string{"4"}},
		"unknown flag":                    {exitUsage, []string{"--nosuchflag"}},
		"unknown mode":                    {exitUsage, []string{"-p", "sqrt", "--mode", "x", "4"}},
		"no procs":                        {exitUsage, []string{"-p", "sqrt", "--procs", "0", "4"}},
		"two sources":                     {exitUsage, []string{"-p", "sqrt", "--range", "0:4", "4"}},
		"unreadable input":                {exitUsage, []string{"-p", "sqrt", "-i", filepath.Join(dir, "nothing")}},
		"unknown workload":                {exitNoWorker, []string{"-p", "nosuch", "4"}},
		"plugin dies at start":            {exitNoWorker, []string{"-p", dies, "4"}},
	} {
		t.Run(name, func(t *testing.T) {
			if runtime.GOOS == "windows" && name == "plugin dies at start" {
				t.Skip("a shell script does not run on windows")
			}
			code, _, stderr := call(t, strings.NewReader(""), c.args...)
			if code != c.want {
				t.Errorf("%q: got exit code %d, want %d; stderr:\n%s", c.args, code, c.want, stderr)
			}
		})
	}
}

func TestInputThatBreaksOffIsUnreadable(t *testing.T) {
	broken := io.MultiReader(strings.NewReader("4\n9\n"), iotest.ErrReader(errors.New("cable pulled")))
	code, stdout, stderr := call(t, broken, "-p", "sqrt", "-i", "-", "-o", "values", "--procs", "1")
	if code != exitUsage || !strings.Contains(stderr, "read stdin: cable pulled") {
		t.Errorf("got exit code %d and %q, want %d and the reader's error", code, stderr, exitUsage)
	}
	if stdout != "2\n3\n" {
		t.Errorf("results of what had been read: got %q, want both", stdout)
	}
}

// command returns the command as a separate process, which tests of signals and pipes need.
func command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Args = append([]string{"parhost"}, args...)
	return cmd
}

// start starts the command as a separate process.
func start(t *testing.T, args ...string) (cmd *exec.Cmd, stdout *bufio.Scanner, stderr *bytes.Buffer) {
	t.Helper()
	cmd = command(t, args...)
	stderr = new(bytes.Buffer)
	cmd.Stderr = stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	return cmd, bufio.NewScanner(out), stderr
}

func exitOf(t *testing.T, cmd *exec.Cmd) int {
	t.Helper()
	_ = cmd.Wait() // the exit code is returned
	return cmd.ProcessState.ExitCode()
}

func TestFirstInterruptLetsRunningItemsEnd(t *testing.T) {
	cmd, stdout, stderr := start(t, "-p", "sleep", "--procs", "2", "-o", "values", "--repeat", "1000", "0.1")
	if !stdout.Scan() {
		t.Fatal("no result")
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Skip("signals cannot be sent here: ", err)
	}
	for stdout.Scan() {
	}
	if code := exitOf(t, cmd); code != exitInterrupted {
		t.Errorf("got exit code %d, want %d", code, exitInterrupted)
	}
	if !strings.Contains(stderr.String(), " 0 failed ") || !strings.Contains(stderr.String(), "stopped: interrupted") {
		t.Errorf("summary after an interrupt: got %q, want no failures", stderr)
	}
}

func TestSecondInterruptKills(t *testing.T) {
	cmd, stdout, stderr := start(t, "-p", "sleep", "--procs", "2", "-o", "values", "--", "0.01", "3600", "3600")
	if !stdout.Scan() {
		t.Fatal("no result")
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Skip("signals cannot be sent here: ", err)
	}
	ticker := time.NewTicker(10 * time.Millisecond) // no event says that the command has seen the first signal, only its message
	defer ticker.Stop()
	done := make(chan int, 1)
	go func() {
		for stdout.Scan() {
		}
		done <- exitOf(t, cmd)
	}()
	for {
		select {
		case code := <-done:
			if code != exitInterrupted {
				t.Errorf("got exit code %d, want %d; stderr: %s", code, exitInterrupted, stderr)
			}
			return
		case <-ticker.C:
			_ = cmd.Process.Signal(os.Interrupt)
		case <-time.After(20 * time.Second):
			t.Fatal("still running 20 s after the second interrupt")
		}
	}
}

func TestInterruptEndsARunWhoseInputIsIdle(t *testing.T) {
	cmd := command(t, "-p", "sqrt", "-o", "values", "-i", "-")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	late := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() })
	defer late.Stop()
	if _, err := io.WriteString(stdin, "4\n"); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(stdout)
	if !lines.Scan() || lines.Text() != "2" {
		t.Fatalf("got %q, want 2", lines.Text())
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Skip("signals cannot be sent here: ", err)
	}
	if code := exitOf(t, cmd); code != exitInterrupted {
		t.Errorf("got exit code %d, want %d", code, exitInterrupted)
	}
}

func TestClosedPipeEndsTheRunQuietly(t *testing.T) {
	report := filepath.Join(t.TempDir(), "run.json")
	cmd := command(t, "-p", "sqrt", "-o", "values", "--range", "0:1000000000", "--report", report)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = w, &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	if line, err := bufio.NewReader(r).ReadString('\n'); err != nil || line != "0\n" {
		t.Errorf("first line: got %q, %v, want 0", line, err)
	}
	_ = r.Close()
	if code := exitOf(t, cmd); code != exitOK || stderr.Len() > 0 {
		t.Errorf("got exit code %d and %q, want %d and no word", code, &stderr, exitOK)
	}
	var got summary
	if text, err := os.ReadFile(report); err != nil || json.Unmarshal(text, &got) != nil || got.Items < 1 || got.Stopped == "" {
		t.Errorf("the report: got %s and %v, want the items and why there were no more", text, err)
	}
}

// However late a signal arrives, it either ends the current call or stays in the channel for the next one.
func TestNoInterruptIsLost(t *testing.T) {
	for range 1000 {
		signals := make(chan os.Signal, 2)
		err := interruptibly(t.Context(), signals, func(context.Context) error {
			runtime.Gosched() // lets interruptibly wait for the signal first
			signals <- os.Interrupt
			return nil
		})
		if len(signals) == 0 && !errors.Is(err, errInterrupted) {
			t.Fatalf("got %v, and no signal is left", err)
		}
	}
}

func TestFilterAnswersWhileItsInputIsOpen(t *testing.T) {
	in, feed := io.Pipe()
	out, results := io.Pipe()
	code := make(chan int, 1)
	go func() {
		code <- run(context.Background(), []string{"-p", "sqrt", "-i", "-", "-o", "values", "--mode", "goroutine"}, in, results, io.Discard)
		_ = results.Close()
	}()
	lines := bufio.NewScanner(out)
	for _, c := range []struct{ item, want string }{{"4", "2"}, {"9", "3"}} {
		if _, err := io.WriteString(feed, c.item+"\n"); err != nil {
			t.Fatal(err)
		}
		if !lines.Scan() || lines.Text() != c.want {
			t.Fatalf("answer to %s: got %q, want %s", c.item, lines.Text(), c.want)
		}
	}
	_ = feed.Close()
	if got := <-code; got != exitOK {
		t.Errorf("got exit code %d, want %d", got, exitOK)
	}
}

func TestFullDiskIsAnError(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip("there is no /dev/full here")
	}
	defer full.Close()
	var stderr bytes.Buffer
	code := run(context.Background(), []string{"-p", "sqrt", "-o", "values", "4"}, strings.NewReader(""), full, &stderr)
	if code != exitFailed || !strings.Contains(stderr.String(), syscall.ENOSPC.Error()) {
		t.Errorf("got exit code %d and %q, want %d and %q", code, &stderr, exitFailed, syscall.ENOSPC)
	}
}

func TestReportIsWhatTheSummarySays(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run.json")
	code, _, stderr := call(t, strings.NewReader("4\n-1\n{\n"), "-p", "sqrt", "-i", "-", "-o", "none", "--report", path)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err, code, stderr)
	}
	var got summary
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if got.Items != 3 || got.OK != 1 || got.Failed != 2 || got.Kinds["bad_item"] != 1 || got.Kinds["failed"] != 1 {
		t.Errorf("got %+v, want 3 items, 1 ok, one bad and one failed", got)
	}
	if !strings.Contains(stderr, "\n3 items · 1 ok · 2 failed (1 bad_item, 1 failed) · process × ") {
		t.Errorf("summary: got %q", stderr)
	}
}

func TestRanges(t *testing.T) {
	for text, want := range map[string][]string{
		"0:3":     {"0", "1", "2"},
		"0:5:2":   {"0", "2", "4"},
		"5:0:-2":  {"5", "3", "1"},
		"-2:1":    {"-2", "-1", "0"},
		"7:8:100": {"7"},
	} {
		s, err := parseRange(text)
		if err != nil {
			t.Errorf("range %s: %v", text, err)
			continue
		}
		var got []string
		r := &rangeItems{span: s, rounds: 1}
		for item, ok := r.next(); ok; item, ok = r.next() {
			got = append(got, string(item))
		}
		if !slices.Equal(got, want) || s.count() != len(want) {
			t.Errorf("range %s: got %v (count %d), want %v", text, got, s.count(), want)
		}
	}
	all, err := parseRange("-9223372036854775808:9223372036854775807")
	if err != nil || all.count() <= 0 {
		t.Errorf("the widest range: got count %d and error %v, want a positive count", all.count(), err)
	}
}

func TestHaltPolicies(t *testing.T) {
	for name, c := range map[string]struct {
		policy               string
		failed, ended, total int
		want                 bool
	}{
		"continue":                           {"continue", 1000, 1000, -1, false},
		"stop at the first":                  {"stop", 1, 1000, -1, true},
		"stop without failures":              {"stop", 0, 1000, -1, false},
		"below a number":                     {"3", 2, 1000, -1, false},
		"at a number":                        {"3", 3, 1000, -1, true},
		"share of too few that ended":        {"5%", 99, 99, -1, false},
		"share of those that ended, reached": {"5%", 5, 100, -1, true},
		"below it":                           {"5%", 5, 101, -1, false},
		"share of all, at the beginning":     {"5%", 1, 20, 100_001, false},
		"below a share of all":               {"5%", 49, 49, 1000, false},
		"share of all reached":               {"5%", 50, 50, 1000, true},
		"share of a few":                     {"50%", 1, 1, 2, true},
		"below a share of a few":             {"50%", 1, 1, 3, false},
		"below one that is no binary number": {"4.1%", 40, 1000, 1000, false},
		"one that is no binary number":       {"4.1%", 41, 1000, 1000, true},
		"all of them":                        {"100%", 3, 3, 3, true},
		"not all of them":                    {"100%", 2, 3, 3, false},
	} {
		h, err := parseOnError(c.policy)
		if err != nil {
			t.Fatal(err)
		}
		if got := h.reached(c.failed, c.ended, c.total); got != c.want {
			t.Errorf("%s: %d of %d failed, of %d, with --on-error %s: got %v, want %v", name, c.failed, c.ended, c.total, c.policy, got, c.want)
		}
	}
}

// FuzzLines compares how lines are cut and numbered with the simplest way to do both.
func FuzzLines(f *testing.F) {
	f.Add([]byte("1\n2\n\n3"), uint8(1))
	f.Add([]byte("\r\n \n4\r\n\n\n5\n"), uint8(3))
	f.Add(bytes.Repeat([]byte("123456789\n"), 60_000), uint8(200))
	f.Fuzz(func(t *testing.T, text []byte, chunk uint8) {
		var want []string
		var numbers []int
		for i, line := range strings.Split(string(text), "\n") {
			if line = strings.TrimSpace(line); line != "" {
				want = append(want, line)
				numbers = append(numbers, i+1)
			}
		}
		r := &lineReader{r: &slowReader{text, 1 + 100*int(chunk)}, name: "text", most: maxLine, rounds: 1}
		var got []string
		for line, ok := r.next(); ok; line, ok = r.next() {
			got = append(got, string(line))
		}
		if !slices.Equal(got, want) {
			t.Fatalf("got %d lines, want %d: %.200q", len(got), len(want), text)
		}
		for i, n := range numbers {
			if r.line(i) != n {
				t.Fatalf("item %d: got line %d, want %d: %.200q", i, r.line(i), n, text)
			}
		}
	})
}

// slowReader returns at most n bytes per read.
type slowReader struct {
	text []byte
	n    int
}

func (r *slowReader) Read(p []byte) (int, error) {
	if len(r.text) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), r.n)], r.text)
	r.text = r.text[n:]
	return n, nil
}

func TestShortenKeepsBothEnds(t *testing.T) {
	got := shorten("begin"+strings.Repeat("x", 100)+"\x1b[2Jend", 30)
	if len([]rune(got)) > 30 || !strings.HasPrefix(got, "begin") || !strings.HasSuffix(got, "end") || strings.ContainsRune(got, '\x1b') {
		t.Errorf("got %q, want at most 30 runes with both ends and no escape", got)
	}
}

// A user who asks for eight processes for eight items wants all eight to work.
func TestFewItemsRunOnAsManyProcesses(t *testing.T) {
	code, stdout, stderr := call(t, nil, "-p", "reduce", "--procs", "8", "-o", "jsonl")
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	pids := map[int]bool{}
	for line := range strings.Lines(stdout) {
		var record struct{ PID int }
		if err := json.Unmarshal([]byte(line), &record); err != nil {
			t.Fatal(err)
		}
		pids[record.PID] = true
	}
	if len(pids) != 8 {
		t.Errorf("the 8 examples of reduce on 8 processes: got %d different ones in\n%s", len(pids), stdout)
	}
}

// A worker that could not get an item must not be started.
func TestThereAreNoMoreWorkersThanItems(t *testing.T) {
	for name, c := range map[string]struct {
		args    []string
		workers string
	}{
		"arguments":         {[]string{"-p", "sqrt", "4", "9", "16"}, "process × 3"},
		"one, repeated":     {[]string{"-p", "sqrt", "--repeat", "2", "4"}, "process × 2"},
		"a range":           {[]string{"-p", "sqrt", "--range", "0:3"}, "process × 3"},
		"examples":          {[]string{"-p", "reduce"}, "process × 8"},
		"a pool that grows": {[]string{"-p", "sqrt", "--min-procs", "5", "4"}, "process × 1"},
		"goroutines":        {[]string{"-p", "sqrt", "--mode", "goroutine", "4", "9"}, "goroutine × 2"},
	} {
		t.Run(name, func(t *testing.T) {
			code, _, stderr := call(t, nil, append(c.args, "--procs", "100000")...)
			if code != 0 || !strings.Contains(stderr, c.workers+" ·") {
				t.Errorf("with --procs 100000: got exit code %d and\n%s\nwant %s", code, stderr, c.workers)
			}
		})
	}
}

// If a reader of stdout stops early, as head does, the command must not fail.
func TestAReaderThatGoesIsNoFailureOfAnyCommand(t *testing.T) {
	for _, line := range []string{"--help", "--version", "version --json", "completion bash", "plugins list", "plugins describe sqrt", "doctor", "-p sqrt --compare 4"} {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		_ = r.Close()
		var stderr bytes.Buffer
		code := run(t.Context(), strings.Fields(line), strings.NewReader(""), w, &stderr)
		_ = w.Close()
		if code != exitOK || strings.Contains(stderr.String(), "parhost: error") {
			t.Errorf("parhost %s, and nobody reads: got exit code %d and %q, want %d and no error", line, code, stderr.String(), exitOK)
		}
	}
}
