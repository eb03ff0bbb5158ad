package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// source is where the items of a run come from.
type source struct {
	items iter.Seq[json.RawMessage]
	count int // -1 if nobody knows
	lines *lineReader
	close func()
}

// failure is why reading stopped early, once items has ended.
func (s *source) failure() error {
	if s.lines == nil {
		return nil
	}
	return s.lines.failure()
}

// place says where item index stood, for sources that have lines.
func (s *source) place(index int) string {
	if s.lines == nil {
		return ""
	}
	return "line " + strconv.Itoa(s.lines.line(index))
}

// openSource opens the one source that the flags name; examples are the plugin's own items.
func openSource(s *streams, o *options, examples []json.RawMessage) (*source, error) {
	if o.repeat < 1 {
		return nil, usageError("write --repeat 20 to give each item twenty times", "--repeat %d: nothing would run", o.repeat)
	}
	switch {
	case o.input != "":
		return openInput(s, o)
	case o.span != "":
		span, err := parseRange(o.span)
		if err != nil {
			return nil, err
		}
		return &source{items: repeated(o.repeat, span.items()), count: o.repeat * span.count(), close: func() {}}, nil
	}
	items := examples
	if len(o.items) > 0 {
		items = make([]json.RawMessage, len(o.items))
		for i, text := range o.items {
			items[i] = json.RawMessage(text)
		}
	}
	if len(items) == 0 {
		return nil, usageError("give items as arguments, with --input or with --range", "plugin %q has no example items", o.plugin)
	}
	return &source{items: repeated(o.repeat, slices.Values(items)), count: o.repeat * len(items), close: func() {}}, nil
}

// checkSources refuses more than one source before anything is started.
func checkSources(o *options) error {
	var given []string
	if o.input != "" {
		given = append(given, "--input "+o.input)
	}
	if o.span != "" {
		given = append(given, "--range "+o.span)
	}
	if len(o.items) > 0 {
		given = append(given, fmt.Sprintf("%d arguments (%q …)", len(o.items), o.items[0]))
	}
	if len(given) > 1 {
		return usageError("keep one of them", "items come from %s at once", strings.Join(given, " and "))
	}
	if o.input == "-" && o.repeat > 1 {
		return usageError("save the items to a file and give --input FILE --repeat N", "--repeat %d: stdin can be read only once", o.repeat)
	}
	return nil
}

func repeated(n int, items iter.Seq[json.RawMessage]) iter.Seq[json.RawMessage] {
	return func(yield func(json.RawMessage) bool) {
		for range n {
			for item := range items {
				if !yield(item) {
					return
				}
			}
		}
	}
}

// span is --range.
type span struct{ start, stop, step int64 }

func parseRange(text string) (span, error) {
	wrong := func(problem string) (span, error) {
		return span{}, usageError("write --range START:STOP or START:STOP:STEP, such as 0:100000 or 10:0:-2", "--range %q: %s", text, problem)
	}
	parts := strings.Split(text, ":")
	if len(parts) < 2 || len(parts) > 3 {
		return wrong("want two or three numbers")
	}
	numbers := [3]int64{2: 1}
	for i, part := range parts {
		n, err := strconv.ParseInt(part, 10, 64)
		if err != nil {
			return wrong(fmt.Sprintf("%q is no integer of 64 bits", part))
		}
		numbers[i] = n
	}
	s := span{numbers[0], numbers[1], numbers[2]}
	switch {
	case s.step == 0:
		return wrong("a step of 0 never ends")
	case s.count() <= 0:
		return wrong("it is empty")
	}
	return s, nil
}

// count is the number of items. The differences are taken unsigned, where those of two integers of 64 bits fit.
func (s span) count() int {
	var distance, step uint64
	switch {
	case s.step > 0 && s.stop > s.start:
		distance, step = uint64(s.stop)-uint64(s.start), uint64(s.step)
	case s.step < 0 && s.stop < s.start:
		distance, step = uint64(s.start)-uint64(s.stop), -uint64(s.step)
	default:
		return 0
	}
	return int(min((distance-1)/step, math.MaxInt-1)) + 1
}

func (s span) items() iter.Seq[json.RawMessage] {
	return func(yield func(json.RawMessage) bool) {
		var block []byte // many numbers share one piece of memory
		n := s.start
		for range s.count() {
			if cap(block)-len(block) < 20 {
				block = make([]byte, 0, 16<<10)
			}
			at := len(block)
			block = strconv.AppendInt(block, n, 10)
			if !yield(block[at:len(block):len(block)]) {
				return
			}
			n += s.step
		}
	}
}

// openInput opens --input.
func openInput(s *streams, o *options) (*source, error) {
	if o.input == "-" {
		r := &lineReader{r: s.in, name: "stdin", most: maxLine}
		return &source{items: r.items, count: -1, lines: r, close: func() {}}, nil
	}
	f, err := os.Open(o.input)
	if err == nil {
		var info os.FileInfo
		if info, err = f.Stat(); err == nil && info.IsDir() {
			err = fmt.Errorf("open %s: is a folder", o.input)
		}
	}
	if err != nil {
		return nil, usageError("--input takes a file with one JSON value a line, or - for stdin", "%v", err)
	}
	r := &lineReader{r: f, name: o.input, most: maxLine}
	items := r.items
	if o.repeat > 1 {
		items = func(yield func(json.RawMessage) bool) {
			for range o.repeat {
				if _, err := f.Seek(0, io.SeekStart); err != nil {
					r.fail(fmt.Errorf("read %s again: %w", o.input, err))
					return
				}
				r.rewind()
				wanted := true
				r.items(func(item json.RawMessage) bool { wanted = yield(item); return wanted })
				if !wanted || r.failure() != nil {
					return
				}
			}
		}
	}
	return &source{items: items, count: -1, lines: r, close: func() { _ = f.Close() }}, nil
}

// maxLine bounds one line of input: an item of the largest size with some white space around it.
const maxLine = 65 << 20

// lineReader cuts a stream into lines. Blank lines are no items. Lines share the blocks that they were read in, which nobody
// writes to again.
type lineReader struct {
	r    io.Reader
	name string
	most int

	mu    sync.Mutex
	next  int // index of the next item
	at    int // lines read
	jumps []jump
	err   error
}

// jump says that from item index on, items stand so many lines further down than they are numbered.
type jump struct{ index, line int }

const blockBytes = 256 << 10

func (l *lineReader) items(yield func(json.RawMessage) bool) {
	block := make([]byte, 0, blockBytes)
	from := 0 // of the line that has not ended
	for {
		if len(block) == cap(block) { // move the unfinished line to a new block, larger if it fills one
			rest := block[from:]
			if len(rest) > l.most {
				l.fail(fmt.Errorf("read %s: line %d is longer than %d bytes", l.name, l.at+1, l.most))
				return
			}
			block = append(make([]byte, 0, max(blockBytes, 2*len(rest))), rest...)
			from = 0
		}
		n, err := l.r.Read(block[len(block):cap(block)])
		end := len(block) + n
		scan := len(block)
		block = block[:end]
		for {
			i := bytes.IndexByte(block[scan:], '\n')
			if i < 0 {
				break
			}
			line := block[from : scan+i : scan+i]
			scan += i + 1
			from = scan
			if !l.give(line, yield) {
				return
			}
		}
		switch {
		case err == io.EOF:
			if from < end {
				l.give(block[from:end:end], yield)
			}
			return
		case err != nil:
			l.fail(fmt.Errorf("read %s: %w", l.name, err))
			return
		}
	}
}

// give yields one line unless it is blank.
func (l *lineReader) give(line []byte, yield func(json.RawMessage) bool) bool {
	line = bytes.TrimSpace(line)
	l.mu.Lock()
	l.at++
	if len(line) == 0 {
		l.mu.Unlock()
		return true
	}
	if last := len(l.jumps) - 1; last < 0 && l.at != l.next+1 || last >= 0 && l.at-l.next != l.jumps[last].line-l.jumps[last].index {
		l.jumps = append(l.jumps, jump{index: l.next, line: l.at})
	}
	l.next++
	l.mu.Unlock()
	return yield(line)
}

// line returns the number of the line, from 1, in which item index stood.
func (l *lineReader) line(index int) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := index + 1
	for _, j := range l.jumps {
		if j.index > index {
			break
		}
		at = j.line + index - j.index
	}
	return at
}

func (l *lineReader) rewind() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.at = 0
}

func (l *lineReader) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err = err
}

func (l *lineReader) failure() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}
