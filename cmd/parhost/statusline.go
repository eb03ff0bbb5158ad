package main

import (
	"io"
	"strings"
	"sync"

	"golang.org/x/term"
)

// statusLine is what stands at the bottom of a terminal and is redrawn repeatedly: a line, or several. It is wiped before anything else is written to the
// terminal, so other text appears above it.
//
// For one line the terminal only has to support the carriage return.
type statusLine struct {
	mu      sync.Mutex
	to      io.Writer // the terminal
	columns int       // of the last line that is shown now
	below   int       // lines that are shown below the first one
	open    bool      // the last text did not end with a line break, so nothing must be drawn
}

// withStatusLine returns streams that write above a status line if they are terminals. s is nil if stderr is not a terminal.
func withStatusLine(stdout, stderr io.Writer) (out, err io.Writer, s *statusLine) {
	if !isTerminal(stderr) {
		return stdout, stderr, nil
	}
	s = &statusLine{to: stderr}
	if isTerminal(stdout) { // assume that it is the same terminal, because there is no way to know
		stdout = &aboveStatus{s, stdout}
	}
	return stdout, &aboveStatus{s, s.to}, s
}

// draw shows lines at the bottom, cut to the width of the terminal. lines gets the columns and rows that it may use.
func (s *statusLine) draw(lines func(width, height int) []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open {
		return
	}
	width, height, _ := s.size()
	shown := lines(width-1, height-1) // some terminals wrap after the last column
	shown = shown[:min(len(shown), height-1)]
	columns := 0
	for i, line := range shown {
		shown[i], columns = cut(line, width-1)
	}
	var b strings.Builder
	if len(shown) == 1 && s.below == 0 {
		b.WriteString("\r" + shown[0] + strings.Repeat(" ", max(0, min(s.columns, width-1)-columns)))
		s.columns = columns
	} else {
		b.WriteString("\r" + strings.Join(shown, eraseLine+"\r\n") + eraseBelow)
		// The cursor waits at the beginning of the first line: a terminal that gets another width wraps the lines anew, and moves the cursor with its line.
		s.columns, s.below = columns, len(shown)-1
		b.WriteString("\r" + strings.Repeat(lineUp, s.below))
	}
	_, _ = io.WriteString(s.to, b.String()) // a write error has nobody to be reported to
}

const (
	eraseLine  = "\x1b[K" // from the cursor to the end of the line
	eraseBelow = "\x1b[J" // from the cursor to the end of the screen
	lineUp     = "\x1b[A"
)

// size returns the columns and rows of the terminal. If they are not known, it returns usual ones.
func (s *statusLine) size() (width, height int, known bool) {
	width, height, err := term.GetSize(int(fileOf(s.to).Fd()))
	if err != nil || width < 2 || height < 2 {
		return 80, 24, false
	}
	return width, height, true
}

// clear removes what is shown.
func (s *statusLine) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wipe()
}

// wipe removes what is shown. The caller must hold mu.
func (s *statusLine) wipe() {
	switch {
	case s.below > 0:
		// Line by line first: tmux keeps what is erased from the top left corner on, and shows it again in a larger window.
		up := strings.Repeat(lineUp, s.below)
		_, _ = io.WriteString(s.to, "\r"+strings.Repeat(eraseLine+"\r\n", s.below)+eraseLine+up+"\r"+eraseBelow)
	case s.columns > 0:
		_, _ = io.WriteString(s.to, "\r"+strings.Repeat(" ", s.columns)+"\r")
	}
	s.columns, s.below = 0, 0
}

// aboveStatus is the stream below a screen that writes to the terminal of a status line.
type aboveStatus struct {
	status *statusLine
	to     io.Writer
}

func (a *aboveStatus) Write(b []byte) (int, error) {
	a.status.mu.Lock()
	defer a.status.mu.Unlock()
	a.status.wipe()
	if len(b) > 0 {
		a.status.open = b[len(b)-1] != '\n'
	}
	return a.to.Write(b)
}
