package main

import (
	"io"
	"strings"
	"sync"

	"golang.org/x/term"
)

// statusLine is a line at the bottom of a terminal that is drawn again and again. What is written to the terminal meanwhile comes above it: the
// line is wiped first. It shows numbers and words of this program, and nothing of others.
//
// It needs nothing of a terminal but that a carriage return goes back to the first column.
type statusLine struct {
	mu    sync.Mutex
	to    io.Writer // where the line is drawn
	drawn int       // columns of the line
	open  bool      // what was written last did not end its line, so that nothing may be drawn
}

// withStatusLine returns the streams, of which those that are terminals write above a status line. It is nil if stderr is no terminal.
func withStatusLine(stdout, stderr io.Writer) (out, err io.Writer, s *statusLine) {
	if !isTerminal(stderr) {
		return stdout, stderr, nil
	}
	s = &statusLine{to: stderr}
	if isTerminal(stdout) { // the same one, for all that can be known
		stdout = &aboveStatus{s, stdout}
	}
	return stdout, &aboveStatus{s, s.to}, s
}

// draw makes text the line, as far as there is room for it.
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
	width-- // a terminal may wrap at its last column
	line := []rune(text(width))
	line = line[:min(len(line), width)]
	rest := max(0, min(s.drawn, width)-len(line))
	_, _ = io.WriteString(s.to, "\r"+string(line)+strings.Repeat(" ", rest)) // if it fails there is nobody to tell
	s.drawn = len(line)
}

// clear takes the line away.
func (s *statusLine) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wipe()
}

// wipe is clear. Called with mu held.
func (s *statusLine) wipe() {
	if s.drawn > 0 {
		_, _ = io.WriteString(s.to, "\r"+strings.Repeat(" ", s.drawn)+"\r")
		s.drawn = 0
	}
}

// aboveStatus is the innermost stream of a screen that leads to the terminal of a status line.
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
