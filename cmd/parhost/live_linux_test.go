package main

import (
	"bytes"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// userTerminal is a terminal that a command controls, as a shell's user has it.
type userTerminal struct {
	master *os.File
	cmd    *exec.Cmd
	done   chan struct{} // closed when the command has closed the terminal

	mu    sync.Mutex
	shown bytes.Buffer
	more  chan struct{} // has room for one; receives when there is more
}

// atTerminal starts the command as the foreground job of a terminal of 80 columns and 24 rows.
func atTerminal(t *testing.T, args ...string) *userTerminal {
	t.Helper()
	master, tty := openTerminal(t, consoleColumns)
	c := &userTerminal{master: master, cmd: command(t, args...), done: make(chan struct{}), more: make(chan struct{}, 1)}
	c.cmd.Stdin, c.cmd.Stdout, c.cmd.Stderr = tty, tty, tty
	c.cmd.Env = append(os.Environ(), "TERM=xterm")
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = tty.Close()
	go func() {
		defer close(c.done)
		b := make([]byte, 4<<10)
		for {
			n, err := master.Read(b) // EIO when the last process has closed the terminal
			c.mu.Lock()
			c.shown.Write(b[:n])
			c.mu.Unlock()
			select {
			case c.more <- struct{}{}:
			default:
			}
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() { _ = c.cmd.Process.Kill() })
	return c
}

// text returns what the command has written to the terminal.
func (c *userTerminal) text() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.shown.String()
}

// press types keys.
func (c *userTerminal) press(t *testing.T, keys string) {
	t.Helper()
	if _, err := c.master.WriteString(keys); err != nil {
		t.Fatal(err)
	}
}

// await waits until what stands on the screen matches.
func (c *userTerminal) await(t *testing.T, what string) {
	t.Helper()
	match := regexp.MustCompile(what)
	for late := time.After(5 * time.Minute); ; {
		if match.MatchString(strings.Join(screenOf(c.text()), "\n")) {
			return
		}
		select {
		case <-c.more:
		case <-c.done:
			t.Fatalf("the command has ended, and the screen never matched %q:\n%s", what, strings.Join(screenOf(c.text()), "\n"))
		case <-late:
			t.Fatalf("the screen does not match %q:\n%s", what, strings.Join(screenOf(c.text()), "\n"))
		}
	}
}

// end waits for the command and returns its exit code.
func (c *userTerminal) end(t *testing.T) int {
	t.Helper()
	<-c.done
	return exitOf(t, c.cmd)
}

var escape = regexp.MustCompile(`^\x1b\[(\d*)([A-Za-z])`)

const consoleColumns = 80

// screenOf returns the lines that a terminal of consoleColumns columns shows after text was written to it. It never scrolls. It understands only the
// control sequences that the command uses.
func screenOf(text string) []string {
	lines := [][]rune{nil}
	row, column := 0, 0
	for len(text) > 0 {
		if m := escape.FindStringSubmatch(text); m != nil {
			n, _ := strconv.Atoi(m[1])
			switch m[2] {
			case "A":
				row = max(0, row-max(1, n))
			case "K":
				lines[row] = lines[row][:min(column, len(lines[row]))]
			case "J":
				lines = lines[:row+1]
				lines[row] = lines[row][:min(column, len(lines[row]))]
			default:
				lines[row] = append(lines[row], []rune(m[0])...)
			}
			text = text[len(m[0]):]
			continue
		}
		r, size := utf8.DecodeRuneInString(text)
		text = text[size:]
		switch r {
		case '\r':
			column = 0
		case '\n':
			row++
		default:
			if column == consoleColumns {
				row, column = row+1, 0
			}
			for len(lines) <= row {
				lines = append(lines, nil)
			}
			for len(lines[row]) <= column {
				lines[row] = append(lines[row], ' ')
			}
			lines[row][column] = r
			column++
		}
		for len(lines) <= row {
			lines = append(lines, nil)
		}
	}
	shown := make([]string, len(lines))
	for i, line := range lines {
		shown[i] = strings.TrimRight(string(line), " ")
	}
	return shown
}

func TestTheLiveViewLeavesTheResultsAlone(t *testing.T) {
	c := atTerminal(t, "-p", "sleep", "-j", "2", "-o", "values", "--", "0.3", "0.7", "-1", "5", "4")
	c.await(t, `every worker has work(?s).*worker +pid.*\n +1 +\d+ +\d`)
	c.await(t, `last failure: item 2: `)
	if code := c.end(t); code != exitFailed {
		t.Errorf("got exit code %d, want %d", code, exitFailed)
	}
	var left []string
	for _, line := range screenOf(c.text()) {
		if !strings.HasPrefix(line, "parhost: item 2: ") && line != "" {
			left = append(left, line)
		}
	}
	if len(left) < 5 || strings.Join(left[:4], " ") != "0.3 0.7 5 4" || !strings.HasPrefix(left[4], "5 items · 4 ok · 1 failed") || len(left) > 6 {
		t.Errorf("got\n%s\nwant the results and the summary", strings.Join(left, "\n"))
	}
}

func TestKeysSteerARun(t *testing.T) {
	c := atTerminal(t, "-p", "sleep", "-j", "2", "--batch", "1", "-o", "none", "--range", "1:100000", "--item-timeout", "300ms")
	c.await(t, "keys: p pause")
	c.press(t, "p")
	c.await(t, "waiting for the end of a pause")
	c.press(t, "p+")
	c.await(t, `\n +3 +\d+ +\d`)
	c.press(t, "--")
	c.await(t, `worker +pid.*\n +\d+ +\d+.*\n.*last failure`)
	c.press(t, "x\x1b[A") // mean nothing
	c.press(t, "dpp")     // another key takes it back
	c.await(t, "keys: p pause")
	c.press(t, "d")
	c.await(t, "d once more")
	c.press(t, "d")
	if code := c.end(t); code != exitInterrupted {
		t.Errorf("got exit code %d, want %d", code, exitInterrupted)
	}
	if shown := c.text(); !strings.Contains(shown, "stopped: interrupted") || strings.Contains(strings.Join(screenOf(shown), "\n"), "keys:") {
		t.Errorf("got\n%s\nwant a summary, and nothing of the view", strings.Join(screenOf(shown), "\n"))
	}
}

func TestTheTerminalIsWhatItWasBefore(t *testing.T) {
	c := atTerminal(t, "-p", "sleep", "-j", "1", "-o", "none", "--repeat", "100", "0.1")
	before, err := unix.IoctlGetTermios(int(c.master.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	c.await(t, "keys: p pause")
	c.press(t, "\x03\x03") // Ctrl-C twice
	if code := c.end(t); code != exitInterrupted {
		t.Errorf("got exit code %d, want %d", code, exitInterrupted)
	}
	after, err := unix.IoctlGetTermios(int(c.master.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	if before.Lflag|unix.ICANON|unix.ECHO != after.Lflag {
		t.Errorf("got the mode %x, want %x", after.Lflag, before.Lflag|unix.ICANON|unix.ECHO)
	}
}

// An item hangs. Keys show the stack of its worker and then cancel this item, while the other items finish.
func TestKeysShowAndCancelAnItem(t *testing.T) {
	c := atTerminal(t, "-p", "sleep", "-j", "1", "--batch", "3", "-o", "values", "0.1", "600", "0.2")
	c.await(t, "keys: p pause")
	c.await(t, `\n +1 +\d+ +1 `)
	c.press(t, "s")
	c.await(t, `worker 1, which runs item 1:\n`)
	c.await(t, `goroutine \d+ `)
	c.press(t, "kp") // another key takes it back
	c.press(t, "k")
	c.await(t, "k once more cancels item 1 on worker 1")
	c.press(t, "k")
	if code := c.end(t); code != exitFailed {
		t.Errorf("got exit code %d, want %d", code, exitFailed)
	}
	if shown := c.text(); !strings.Contains(shown, "3 items · 2 ok · 1 failed (1 canceled)") {
		t.Errorf("got\n%s\nwant one item canceled", strings.Join(screenOf(shown), "\n"))
	}
}
