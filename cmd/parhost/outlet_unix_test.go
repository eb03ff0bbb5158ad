//go:build unix

package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// pipe returns a pipe that is closed when the test ends.
func pipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close(); _ = w.Close() })
	return r, w
}

// waitUntilFull waits until a pipe is full. w is its write end.
func waitUntilFull(t *testing.T, w *os.File) {
	t.Helper()
	ticker := time.NewTicker(time.Millisecond) // poll(2) reports that a pipe has room, not that it is full
	defer ticker.Stop()
	late := time.After(time.Minute)
	for {
		list := []unix.PollFd{{Fd: int32(w.Fd()), Events: unix.POLLOUT}}
		if n, err := unix.Poll(list, 0); n == 0 && err == nil {
			return
		}
		select {
		case <-ticker.C:
		case <-late:
			t.Fatal("the pipe has room after a minute")
		}
	}
}

// ends checks that a command ends with the exit code want.
func ends(t *testing.T, cmd *exec.Cmd, want int) {
	t.Helper()
	done := make(chan int, 1)
	go func() {
		_ = cmd.Wait() // the exit code is checked below
		done <- cmd.ProcessState.ExitCode()
	}()
	select {
	case got := <-done:
		if got != want {
			t.Errorf("got exit code %d, want %d", got, want)
		}
	case <-time.After(time.Minute):
		_ = cmd.Process.Kill()
		t.Error("still running after a minute")
	}
}

func TestARunEndsWhoeverReadsItsOutput(t *testing.T) {
	results := []string{"-p", "sqrt", "-o", "values", "--range", "0:100000000"}
	for _, mode := range []string{"process", "goroutine", "sequential"} {
		for name, c := range map[string]struct {
			args   []string
			stderr bool // nobody reads stderr either
			signal os.Signal
			twice  bool
			want   int
		}{
			"at an interrupt":        {args: results, signal: os.Interrupt, want: exitInterrupted},
			"at SIGTERM":             {args: results, signal: syscall.SIGTERM, want: exitInterrupted},
			"at a second interrupt":  {args: results, signal: os.Interrupt, twice: true, want: exitInterrupted},
			"without stderr":         {args: results, stderr: true, signal: os.Interrupt, want: exitInterrupted},
			"at its deadline":        {args: append([]string{"--run-deadline", "2s"}, results...), want: exitFailed},
			"at records":             {args: []string{"-p", "sqrt", "-o", "jsonl", "--range", "0:100000000"}, signal: os.Interrupt, want: exitInterrupted},
			"at failures on stderr":  {args: []string{"-p", "sqrt", "-o", "values", "--range", "-100000000:0"}, stderr: true, signal: os.Interrupt, want: exitInterrupted},
			"and its failures, late": {args: []string{"-p", "sqrt", "-o", "values", "--run-deadline", "2s", "--range", "-100000000:0"}, stderr: true, want: exitFailed},
		} {
			if mode != "process" && name != "at an interrupt" {
				continue // the other cases do not depend on the mode
			}
			t.Run(mode+", "+name, func(t *testing.T) {
				t.Parallel()
				cmd := command(t, append([]string{"--mode", mode, "--procs", "1"}, c.args...)...)
				_, w := pipe(t)
				var stderr bytes.Buffer
				cmd.Stdout, cmd.Stderr = w, &stderr
				if c.stderr {
					cmd.Stderr = w
				}
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				waitUntilFull(t, w)
				if c.signal != nil {
					_ = cmd.Process.Signal(c.signal)
				}
				if c.twice {
					_ = cmd.Process.Signal(c.signal)
				}
				ends(t, cmd, c.want)
				if !c.stderr && !strings.Contains(stderr.String(), "nobody reads it") {
					t.Errorf("stderr: got %q, want word of what is lost", stderr.String())
				}
			})
		}
	}
}

// A process that shares a pipe may make it non-blocking for all who use it.
func TestOutputIsWholeWhereThePipeDoesNotBlock(t *testing.T) {
	const items = 300_000
	cmd := command(t, "-p", "sqrt", "-o", "values", "--range", fmt.Sprintf("0:%d", items))
	r, w := pipe(t)
	var stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = w, &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	waitUntilFull(t, w) // the command has started to write while the pipe still blocks
	if err := syscall.SetNonblock(int(w.Fd()), true); err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	lines, last := 0, ""
	for scan := bufio.NewScanner(r); scan.Scan(); lines++ {
		last = scan.Text()
	}
	ends(t, cmd, exitOK)
	if lines != items || last != "547.7216446334762" {
		t.Errorf("got %d lines up to %q, want %d; stderr: %s", lines, last, items, &stderr)
	}
}

func TestInputIsWholeWhereThePipeDoesNotBlock(t *testing.T) {
	cmd := command(t, "-p", "sqrt", "-o", "values", "-i", "-")
	r, w := pipe(t)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stderr = r, &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for i, item := range []string{"4", "9", "16"} {
		if _, err := io.WriteString(w, item+"\n"); err != nil {
			t.Fatal(err)
		}
		if want := fmt.Sprint(i + 2); !lines.Scan() || lines.Text() != want {
			t.Fatalf("got %q, want %s; stderr: %s", lines.Text(), want, &stderr)
		}
		if err := syscall.SetNonblock(int(r.Fd()), true); err != nil {
			t.Fatal(err)
		}
	}
	_ = w.Close()
	ends(t, cmd, exitOK)
}

func TestAFailedWriteTellsWhatIsComplete(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command("sh", "-c", `ulimit -f 1; exec "$0" -p sqrt --progress none --range 0:1000000 -o values >`+filepath.Join(dir, "values"))
	cmd.Path, cmd.Args[0] = shell(t), "sh"
	cmd.Args = append(cmd.Args, linkAs(t, dir, "parhost"))
	text, _ := cmd.CombinedOutput()
	written, err := os.ReadFile(filepath.Join(dir, "values"))
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("parhost: hint: %d whole lines were written, and the beginning of one more; all other results are lost", bytes.Count(written, []byte("\n")))
	if got := cmd.ProcessState.ExitCode(); got != exitFailed || !strings.Contains(string(text), want) || !strings.Contains(string(text), "file too large") {
		t.Errorf("got exit code %d and %s, want %d and %q", got, text, exitFailed, want)
	}
}

// linkAs makes a link to this program and returns its path. TestMain chooses what to run by the base name of the program.
func linkAs(t *testing.T, dir, name string) string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, name)
	if err := os.Symlink(exe, link); err != nil {
		t.Fatal(err)
	}
	return link
}

func shell(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("sh")
	if err != nil {
		t.Skip(err)
	}
	return path
}

func TestClosedStreamsAreToldFromEmptyOnes(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("what was closed is known on Linux alone")
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "parhost")
	if err := os.Symlink(exe, link); err != nil {
		t.Fatal(err)
	}
	for script, c := range map[string]struct {
		want int
		says string
	}{
		`"$0" -p sqrt 4 >&-`:                             {exitOK, "stdout is closed"},
		`"$0" -p sqrt 4 -o table >&-`:                    {exitOK, "stdout is closed"},
		`"$0" -p sqrt 4 >&- 2>&-`:                        {exitOK, ""},
		`"$0" -p sqrt --compare 4 >&-`:                   {exitOK, "stdout is closed"},
		`"$0" -p sqrt 4 1<>/dev/null`:                    {exitOK, "1 ok"},
		`"$0" -p sqrt -o none 4 >&-`:                     {exitOK, "1 ok"},
		`"$0" -p sqrt 4 >/dev/null`:                      {exitOK, "1 ok"},
		`"$0" -p sqrt 4 >/dev/null 2>&1`:                 {exitOK, ""},
		`"$0" -p sqrt 4 0<>/dev/null >&0 2>&0`:           {exitOK, ""},
		`"$0" -p sqrt -o values -i - <&-`:                {exitUsage, "stdin is closed"},
		`"$0" -p sqrt -o values -i - </dev/null`:         {exitOK, "0 items"},
		`"$0" -p sqrt -o none 4 <&-`:                     {exitOK, "1 ok"},
		`"$0" -p sqrt -o none <&-`:                       {exitOK, " ok"},
		`"$0" -p sqrt --progress none -o none 4 2>&- ; `: {exitOK, ""},
	} {
		cmd := exec.Command(shell(t), "-c", script, link)
		text, _ := cmd.CombinedOutput()
		if got := cmd.ProcessState.ExitCode(); got != c.want || !strings.Contains(string(text), c.says) {
			t.Errorf("%s: got exit code %d and %q, want %d and %q", script, got, text, c.want, c.says)
		}
	}
}

func TestNoLineIsWrittenIntoAnother(t *testing.T) {
	for name, open := range map[string]func(t *testing.T) (w *os.File, read func() io.Reader){
		"a file": func(t *testing.T) (*os.File, func() io.Reader) {
			f, err := os.Create(filepath.Join(t.TempDir(), "both"))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = f.Close() })
			return f, func() io.Reader { _, _ = f.Seek(0, io.SeekStart); return f }
		},
		"a pipe": func(t *testing.T) (*os.File, func() io.Reader) {
			r, w := pipe(t)
			return w, func() io.Reader { _ = w.Close(); return r }
		},
	} {
		t.Run(name, func(t *testing.T) {
			const items = 100_000
			cmd := command(t, "-p", "sqrt", "-o", "values", "--progress", "none", "--range", fmt.Sprintf("%d:%d", -items/2, items/2)) // half of them fail
			w, read := open(t)
			cmd.Stdout, cmd.Stderr = w, w
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			if name == "a file" {
				ends(t, cmd, exitFailed)
			}
			values, failures := 0, 0
			for scan := bufio.NewScanner(read()); scan.Scan(); {
				var x float64
				switch line := scan.Text(); {
				case strings.HasPrefix(line, "parhost: item ") && strings.Count(line, "item") == 1:
					failures++
				case strings.HasPrefix(line, "100000 items"):
				default:
					if n, err := fmt.Sscan(line, &x); n != 1 || err != nil || x*x > items {
						t.Fatalf("got the line %q", line)
					}
					values++
				}
			}
			if name == "a pipe" {
				ends(t, cmd, exitFailed)
			}
			if values != items/2 || failures != items/2 {
				t.Errorf("got %d values and %d failures, want %d of each", values, failures, items/2)
			}
		})
	}
}
