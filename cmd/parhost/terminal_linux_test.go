package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// openTerminal opens a terminal of 24 rows. master is the end at which a user sits, and tty the end for programs.
func openTerminal(t *testing.T, columns uint16) (master, tty *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skip("there are no terminals here: ", err)
	}
	t.Cleanup(func() { _ = master.Close() })
	number, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		err = unix.IoctlSetWinsize(int(master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: columns})
	}
	if err != nil {
		t.Fatal(err)
	}
	tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skip("there are no terminals here: ", err)
	}
	return master, tty
}

// onTerminal runs the command on a terminal with the given number of columns, and returns what it wrote there.
func onTerminal(t *testing.T, columns uint16, env []string, args ...string) string {
	t.Helper()
	master, tty := openTerminal(t, columns)
	cmd := command(t, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = tty, tty, tty
	cmd.Env = append(append(os.Environ(), "TERM=xterm"), env...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = tty.Close()
	var shown bytes.Buffer
	_, _ = io.Copy(&shown, master) // returns EIO when the last process has closed the terminal
	_ = cmd.Wait()
	return shown.String()
}

func TestResultsAndTheBarShareATerminal(t *testing.T) {
	shown := onTerminal(t, 80, nil, "--progress", "bar", "-p", "sleep", "-j", "1", "--repeat", "4", "-o", "values", "0.3")
	if n := len(regexp.MustCompile(`(?m)\r0\.3\r$`).FindAllString(shown, -1)); n != 4 && strings.Count(shown, "\r0.3\r\n") != 4 {
		t.Errorf("got %q, want four results at the beginning of a line", shown)
	}
	if !strings.Contains(shown, " 0 of 4") || !strings.Contains(shown, " 2 of 4") {
		t.Errorf("got %q, want the progress from the beginning on", shown)
	}
	if strings.Contains(shown, "\x1b") {
		t.Errorf("got %q, want no escape sequences", shown)
	}
}

// Text above the status line must be escaped like all other text.
func TestWordsOfOthersDoNothingToTheTerminalOfTheBar(t *testing.T) {
	shown := onTerminal(t, 80, nil, "-p", "rude", "-j", "1", "-o", "table", "--progress", "bar", `"talk"`, `"fail"`, `"panic"`)
	shown += onTerminal(t, 80, nil, "-p", "x\x1b[2J\u202e\u009b", "--progress", "bar", "1")
	for line := range strings.SplitSeq(shown, "\n") {
		if strings.ContainsAny(line, "\x1b\u202e\u009b") || strings.HasPrefix(line, "parhost: hint: run rm") {
			t.Errorf("got the line %q, want it escaped", line)
		}
	}
	if !strings.Contains(shown, "parhost: error:") {
		t.Errorf("got %q, want an error", shown)
	}
}

func TestTheBarFitsANarrowTerminal(t *testing.T) {
	for _, columns := range []uint16{10, 20, 33} {
		shown := onTerminal(t, columns, nil, "--progress", "bar", "-p", "sleep", "-j", "1", "--repeat", "5", "-o", "none", "0.3")
		shown = shown[:strings.LastIndex(shown, "5 items ·")] // without the summary, which is an ordinary line
		for _, line := range strings.FieldsFunc(shown, func(r rune) bool { return r == '\r' || r == '\n' }) {
			if utf8.RuneCountInString(line) >= int(columns) {
				t.Errorf("%d columns: got the line %q", columns, line)
			}
		}
		if !strings.Contains(shown, "%") {
			t.Errorf("%d columns: got %q, want a share", columns, shown)
		}
	}
}

func TestADumbTerminalGetsLines(t *testing.T) {
	shown := onTerminal(t, 80, []string{"TERM=dumb"}, "-p", "sleep", "-j", "1", "--repeat", "8", "-o", "none", "0.3")
	if strings.Contains(shown, "\r ") || strings.Contains(shown, "[") || !strings.Contains(shown, "Done ") {
		t.Errorf("got %q, want lines", shown)
	}
}

func TestTheBarShowsWhatRunningItemsSay(t *testing.T) {
	shown := onTerminal(t, 80, nil, "--progress", "bar", "-p", "partway", "-j", "1", "-o", "none", "1")
	if !strings.Contains(shown, "0 of 1") || !strings.Contains(shown, "running 42%") {
		t.Errorf("got %q, want the progress of the running item", shown)
	}
}

func TestTheBarEstimatesTheItemsOfAFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "items")
	if err := os.WriteFile(file, bytes.Repeat([]byte("0.000001\n"), 200_000), 0o600); err != nil {
		t.Fatal(err)
	}
	shown := onTerminal(t, 80, nil, "--progress", "bar", "-p", "sleep", "-j", "2", "-i", file, "-o", "none", "--run-deadline", "3s")
	total := regexp.MustCompile(` of ~(\d+)`).FindStringSubmatch(shown)
	if total == nil || len(total[1]) != 6 || !strings.Contains(shown, " left") {
		t.Errorf("got %.600q, want an estimate of 200000 items, and of the time that is left", shown)
	}
}

// A shell without job control ignores SIGINT for background commands, and nohup ignores SIGHUP. The command must keep such signals ignored.
func TestIgnoredSignalsStayIgnored(t *testing.T) {
	for _, name := range []string{"INT", "HUP"} {
		cmd := command(t, "-p", "sleep", "-j", "1", "-o", "values", "--repeat", "4", "0.2")
		link := filepath.Join(t.TempDir(), "parhost") // a link of this name makes the test binary the command
		if err := os.Symlink(cmd.Path, link); err != nil {
			t.Fatal(err)
		}
		shell := exec.Command("sh", append([]string{"-c", `trap "" ` + name + `; exec "$0" "$@"`, link}, cmd.Args[1:]...)...)
		out, err := shell.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := shell.Start(); err != nil {
			t.Fatal(err)
		}
		first := make([]byte, 4)
		if _, err := io.ReadFull(out, first); err != nil {
			t.Fatalf("no result: %v", err)
		}
		for range 2 {
			if err := shell.Process.Signal(unix.SignalNum("SIG" + name)); err != nil {
				t.Fatal(err)
			}
		}
		rest, _ := io.ReadAll(out)
		if err := shell.Wait(); err != nil || len(rest) != 3*4 {
			t.Errorf("SIG%s, ignored: got %q, %v, want all results", name, rest, err)
		}
	}
}

func TestAHangUpLetsRunningItemsEnd(t *testing.T) {
	cmd, stdout, stderr := start(t, "-p", "sleep", "-j", "1", "-o", "values", "--repeat", "1000", "0.1")
	if !stdout.Scan() {
		t.Fatal("no result")
	}
	if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	for stdout.Scan() {
	}
	if code := exitOf(t, cmd); code != exitInterrupted || !strings.Contains(stderr.String(), "stopped: interrupted") {
		t.Errorf("got exit code %d and %q, want %d and a summary", code, stderr, exitInterrupted)
	}
}

// listener is a stderr that reports when a certain word has been written to it.
type listener struct {
	text  bytes.Buffer
	word  string
	heard chan struct{} // closed when the word was written
	once  sync.Once
}

func (l *listener) Write(b []byte) (int, error) {
	n, err := l.text.Write(b)
	if strings.Contains(l.text.String(), l.word) {
		l.once.Do(func() { close(l.heard) })
	}
	return n, err
}

func (l *listener) String() string { return l.text.String() }

// The command must report a joblog that has lost records, whatever else ends the run, and must not claim that the joblog has the results.
func TestAJoblogThatLostResultsIsSaid(t *testing.T) {
	for name, c := range map[string]struct {
		harm func(path string) error
		says string
	}{
		"removed": {os.Remove, "was removed or replaced"},
		"cut":     {func(path string) error { return os.Truncate(path, 10) }, "was cut during the run"},
	} {
		for _, interrupted := range []bool{false, true} {
			path := filepath.Join(t.TempDir(), "joblog")
			last := "0.2"
			if interrupted {
				last = "3600" // the item never ends, so it has no record
			}
			cmd := command(t, "-p", "sleep", "-j", "2", "-o", "values", "--joblog", path, "--", "0.01", last)
			stderr := &listener{word: "parhost: interrupted", heard: make(chan struct{})}
			cmd.Stderr = stderr
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = cmd.Process.Kill() })
			stdout := bufio.NewScanner(out)
			if !stdout.Scan() {
				t.Fatal("no result")
			}
			if err := c.harm(path); err != nil {
				t.Fatal(err)
			}
			if interrupted { // twice, because after the first signal the last item goes on
				_ = cmd.Process.Signal(os.Interrupt)
				<-stderr.heard
				_ = cmd.Process.Signal(os.Interrupt)
			}
			for stdout.Scan() {
			}
			code, text := exitOf(t, cmd), stderr.String()
			if code != exitFailed || !strings.Contains(text, c.says) || strings.Contains(text, "in the joblog") || strings.Contains(text, "what is finished is in") {
				t.Errorf("%s, interrupted: %v: got exit code %d and %q, want %d and that results are lost", name, interrupted, code, text, exitFailed)
			}
		}
	}
}
