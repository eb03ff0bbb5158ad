package main

import (
	"io"
	"strings"
	"sync"

	"golang.org/x/term"
)

// statusLine is a line at the bottom of a terminal that is redrawn repeatedly. It is wiped before anything else is written to the terminal, so other
// text appears above it. It shows only numbers and words of this program, no text from plugins or users.
//
// The terminal only has to support the carriage return.
type statusLine struct {
	mu    sync.Mutex
	to    io.Writer // the terminal
	drawn int       // columns of the line that is shown now; 0 if none
	open  bool      // the last text did not end with a line break, so the status line must not be drawn
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

// draw shows text as the status line, cut to the width of the terminal.
func (s *statusLine) draw(text func(width int) string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open {
		return
	}
	width, _, err := term.GetSize(int(fileOf(s.to).Fd()))
	if err != nil || width < 2 {
		width = 80
	}
	width-- // some terminals wrap after the last column
	line := []rune(text(width))
	line = line[:min(len(line), width)]
	rest := max(0, min(s.drawn, width)-len(line))
	_, _ = io.WriteString(s.to, "\r"+string(line)+strings.Repeat(" ", rest)) // a write error has nobody to be reported to
	s.drawn = len(line)
}

// clear removes the status line.
func (s *statusLine) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wipe()
}

// wipe removes the status line. The caller must hold mu.
func (s *statusLine) wipe() {
	if s.drawn > 0 {
		_, _ = io.WriteString(s.to, "\r"+strings.Repeat(" ", s.drawn)+"\r")
		s.drawn = 0
	}
}

// aboveStatus is the stream below a screen that writes to the terminal of a status line.
type aboveStatus struct {
	status *statusLine
	to     io.Writer
}

func (a *aboveStatus) Write(text []byte) (int, error) {
	a.status.mu.Lock()
	defer a.status.mu.Unlock()
	a.status.wipe()
	if len(text) > 0 {
		a.status.open = text[len(text)-1] != '\n'
	}
	return a.to.Write(text)
}
