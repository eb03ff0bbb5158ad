package dashboard

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// maxLines is how many log lines are kept: the latest.
const maxLines = 2000

// Logs keeps the latest lines of a log. It is a sink for [hclog.InterceptLogger]. Its methods may be called from any goroutine.
type Logs struct {
	Least hclog.Level // lines of lower levels are left out; the zero value keeps all

	mu    sync.Mutex
	ring  []Line
	count int // lines so far
}

var _ hclog.SinkAdapter = (*Logs)(nil)

// Line is a line of a log.
type Line struct {
	Number int       `json:"number"` // from 0
	At     time.Time `json:"at"`
	Level  string    `json:"level"`
	Text   string    `json:"text"`
	Worker int       `json:"worker,omitempty"` // that the line is about; 0 if it names none
	Item   int       `json:"item"`             // that the line is about; -1 if it names none
}

// Accept implements [hclog.SinkAdapter].
func (l *Logs) Accept(name string, level hclog.Level, msg string, args ...any) {
	if level < l.Least {
		return
	}
	line := Line{At: time.Now(), Level: level.String(), Item: -1}
	var text strings.Builder
	if name != "" {
		text.WriteString(name + ": ")
	}
	text.WriteString(msg)
	for i := 0; i+1 < len(args); i += 2 {
		key, value := fmt.Sprint(args[i]), args[i+1]
		if text.Len() < maxText {
			fmt.Fprintf(&text, " %s=%v", key, value)
		}
		if n, err := strconv.Atoi(fmt.Sprint(value)); err == nil {
			switch key {
			case "worker":
				line.Worker = n
			case "item", "index":
				line.Item = n
			}
		}
	}
	line.Text = plainText(text.String())
	l.mu.Lock()
	defer l.mu.Unlock()
	line.Number = l.count
	if len(l.ring) < maxLines {
		l.ring = append(l.ring, line)
	} else {
		l.ring[l.count%maxLines] = line
	}
	l.count++
}

// Count returns the number of lines so far.
func (l *Logs) Count() int {
	if l == nil {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.count
}

// Since returns the kept lines from number first on.
func (l *Logs) Since(first int) []Line {
	lines := []Line{}
	if l == nil {
		return lines
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for n := max(first, l.count-len(l.ring)); n < l.count; n++ {
		lines = append(lines, l.ring[n%maxLines])
	}
	return lines
}
