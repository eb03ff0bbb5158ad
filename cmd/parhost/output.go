package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/host/sandbox"
)

// result is the outcome of one item. Its value is a JSON text.
type result = host.Result[json.RawMessage]

// output shows results on stdout. add must not keep r after it returns.
type output interface {
	add(r *result) error
	end() error
}

// newOutput returns the output for --output. The default is a table on a terminal and jsonl elsewhere.
func newOutput(s *streams, o *options) (output, error) {
	format := o.output
	if format == "" {
		format = "jsonl"
		if s.out.isTerminal() {
			format = "table"
		}
	}
	if o.raw && format != "values" {
		return nil, usageError("write --output values --raw", "--raw goes with --output values, not with %s", format)
	}
	if err := checkPairing(o, format); err != nil {
		return nil, err
	}
	switch format {
	case "table":
		return &tableOutput{out: s.out}, nil
	case "jsonl":
		return &recordOutput{w: newWriter(s.out.data())}, nil
	case "values":
		return &valueOutput{w: newWriter(s.out.data()), raw: o.raw}, nil
	case "none":
		return noOutput{}, nil
	default:
		return nil, usageError("write --output table, jsonl, values or none", "--output %q is no format", format)
	}
}

// writer buffers lines for stdout. It empties the buffer soon after the last result, so that a filter sees answers while its input is still open.
//
// It writes only whole lines, so that another writer of the same file cannot split a line. A full buffer is written while the other one is being filled.
type writer struct {
	mu      sync.Mutex
	w       io.Writer
	b       []byte // complete lines
	other   []byte // the other buffer
	writing bool   // a goroutine is writing the other buffer
	wrote   chan error
	timer   *time.Timer
	dirty   bool
	err     error
}

// bufferBytes is the size of the buffer. A single longer line may exceed it.
const bufferBytes = 256 << 10

// lineReserve is free space in bytes for one more line of usual length, so that the buffer does not have to grow.
const lineReserve = 4 << 10

// flushAfter is the longest time that a result may wait in the buffer.
const flushAfter = 20 * time.Millisecond

func newWriter(w io.Writer) *writer {
	return &writer{w: w, b: make([]byte, 0, bufferBytes), wrote: make(chan error, 1)}
}

// write appends one line. fill appends the line, including its line break, to its argument and returns the result.
func (w *writer) write(fill func([]byte) []byte) error {
	w.mu.Lock()
	if w.err == nil {
		w.add(fill)
	}
	err := w.err
	w.mu.Unlock() // not deferred, because a defer for each result costs 5 ns
	return err
}

// add appends one line. The caller must hold mu.
func (w *writer) add(fill func([]byte) []byte) {
	if w.b = fill(w.b); len(w.b) >= bufferBytes-lineReserve {
		w.swap()
	}
	if w.dirty {
		return
	}
	w.dirty = true
	if w.timer == nil {
		w.timer = time.AfterFunc(flushAfter, w.flush)
	} else {
		w.timer.Reset(flushAfter)
	}
}

func (w *writer) flush() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dirty = false
	w.empty()
}

// swap begins to write the full buffer, and makes the other one the next to fill. The caller must hold mu.
func (w *writer) swap() {
	w.wait()
	if len(w.b) > bufferBytes || w.err != nil { // of long lines there is room for one only
		w.empty()
		return
	}
	if w.other == nil {
		w.other = make([]byte, 0, bufferBytes)
	}
	full := w.b
	w.b, w.other, w.writing = w.other[:0], full, true
	go func() {
		_, err := w.w.Write(full)
		w.wrote <- err
	}()
}

// wait waits until the other buffer is written. The caller must hold mu.
func (w *writer) wait() {
	if w.writing {
		w.err, w.writing = cmp.Or(w.err, <-w.wrote), false
	}
}

// empty writes the buffered lines. The caller must hold mu.
func (w *writer) empty() {
	if w.wait(); len(w.b) > 0 && w.err == nil {
		_, w.err = w.w.Write(w.b)
	}
	if w.b = w.b[:0]; cap(w.b) > 2*bufferBytes { // one very long line made the buffer grow
		w.b = make([]byte, 0, bufferBytes)
	}
}

func (w *writer) close() error {
	w.flush()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.timer != nil {
		w.timer.Stop()
	}
	return w.err
}

// valueOutput prints each result as one line that holds only the value.
type valueOutput struct {
	w   *writer
	raw bool

	keep  bool        // --keep-lines: print exactly one line for each line of the input
	lines *lineReader // the lines of the input; nil if the items are not lines
	at    int         // input line of the last result
}

func (v *valueOutput) add(r *result) error {
	switch {
	case v.keep:
		return v.w.write(func(dst []byte) []byte {
			if v.lines != nil {
				dst = v.appendBlanks(dst, v.lines.line(r.Index))
			}
			if r.Err == nil {
				dst = v.append(dst, r.Value)
			}
			return append(dst, '\n')
		})
	case r.Err == nil:
		return v.w.write(func(dst []byte) []byte {
			return append(v.append(slices.Grow(dst, len(r.Value)+1), r.Value), '\n')
		})
	default:
		return nil // stderr names the failed item
	}
}

// append appends a value. With --raw it removes the quotes of a string.
func (v *valueOutput) append(dst []byte, value json.RawMessage) []byte {
	if !v.raw || len(value) == 0 || value[0] != '"' {
		return append(dst, value...)
	}
	return v.appendText(dst, value)
}

// appendText appends a JSON string without its quotes. If the text would break the line with --keep-lines, it appends the JSON string instead.
func (v *valueOutput) appendText(dst []byte, value json.RawMessage) []byte {
	var text string
	switch {
	case json.Unmarshal(value, &text) != nil:
		return append(dst, value...)
	case v.keep && strings.ContainsAny(text, "\n\r"): // JSON has several ways to write a line break, so the decoded text is searched
		return append(dst, value...)
	default:
		return append(dst, text...)
	}
}

func (v *valueOutput) end() error { return v.w.close() }

// recordOutput prints one JSON object per item.
type recordOutput struct {
	w      *writer
	itemOf func(index int) json.RawMessage // returns an item's text; nil if the records do not include it
	level  string                          // sandbox level as a JSON field of each record; "" without a sandbox
	layers string                          // sandbox layers as a JSON field of the records of failures; "" without a sandbox
}

// confine makes the records report the sandbox around the workers.
func (o *recordOutput) confine(f *sandboxFacts) error {
	if f == nil {
		return nil
	}
	layers, err := json.Marshal(f.Layers)
	if err != nil {
		return err
	}
	o.layers = `,"layers":` + string(layers)
	if f.Level > sandbox.Off {
		o.level = `,"sandbox":"` + f.Level.String() + `"`
	}
	return nil
}

func (o *recordOutput) add(r *result) error {
	return o.w.write(func(dst []byte) []byte {
		dst = append(dst, `{"index":`...)
		dst = strconv.AppendInt(dst, int64(r.Index), 10)
		if o.itemOf != nil {
			dst = append(dst, `,"item":`...)
			dst = appendItem(dst, o.itemOf(r.Index))
		}
		if r.Err == nil {
			dst = append(dst, `,"value":`...)
			dst = append(slices.Grow(dst, len(r.Value)+lineReserve), r.Value...)
		} else {
			dst = append(dst, `,"error":`...)
			dst = appendError(dst, r.Err)
		}
		dst = append(dst, `,"worker":`...)
		dst = strconv.AppendInt(dst, int64(r.Worker), 10)
		dst = append(dst, `,"pid":`...)
		dst = strconv.AppendInt(dst, int64(r.PID), 10)
		dst = append(dst, `,"attempts":`...)
		dst = strconv.AppendInt(dst, int64(r.Attempts), 10)
		dst = append(dst, `,"wait_ms":`...)
		dst = appendMillis(dst, r.Wait)
		dst = append(dst, `,"run_ms":`...)
		dst = appendMillis(dst, r.Run)
		if r.Usage != nil {
			dst = appendUsage(dst, r.Usage)
		}
		dst = append(dst, o.level...)
		if r.Err != nil {
			dst = append(dst, o.layers...)
		}
		return append(dst, '}', '\n')
	})
}

func (o *recordOutput) end() error { return o.w.close() }

// appendUsage appends what an item used.
func appendUsage(dst []byte, u *host.Usage) []byte {
	dst = append(dst, `,"cpu_ms":`...)
	dst = appendMillis(dst, u.User+u.System)
	for _, field := range []struct {
		name  string
		value int64
	}{{`,"max_rss_bytes":`, u.MaxRSS}, {`,"csw_voluntary":`, int64(u.Voluntary)}, {`,"csw_forced":`, int64(u.Forced)}} {
		dst = append(dst, field.name...)
		dst = strconv.AppendInt(dst, field.value, 10)
	}
	return dst
}

// appendError appends an item's error in the form that records have.
func appendError(dst []byte, e *host.ItemError) []byte {
	text, err := json.Marshal(struct {
		Kind     host.Kind  `json:"kind"`
		Message  string     `json:"message"`
		Cause    host.Cause `json:"cause,omitempty"`
		ExitCode *int       `json:"exit_code,omitempty"`
		Signal   string     `json:"signal,omitempty"`
		Stderr   []string   `json:"stderr,omitempty"`
		Stack    string     `json:"stack,omitempty"`
	}{e.Kind, e.Message, e.Cause, exitCodeOf(e), e.Signal, e.Stderr, e.Stack})
	if err != nil { // no field can fail to encode
		panic(err)
	}
	return append(dst, plainJSON(text)...)
}

// exitCodeOf returns the exit code of the process that died on an item, or nil if no process died or a signal killed it.
func exitCodeOf(e *host.ItemError) *int {
	if e.Kind != host.KindCrashed && e.Kind != host.KindOutOfMemory || e.Signal != "" {
		return nil
	}
	return &e.ExitCode
}

func appendMillis(dst []byte, d time.Duration) []byte {
	return strconv.AppendFloat(dst, float64(d.Microseconds())/1000, 'f', -1, 64)
}

// How many rows a table shows of a long run, and the width of a cell in characters.
const (
	tableHead = 10
	tableTail = 5
	cellWidth = 60
)

// tableOutput shows the first and the last results as a table.
type tableOutput struct {
	out  *screen
	head []row
	tail []row // a ring buffer once it is full
	n    int   // number of results so far
}

// row is what a table shows of a result. It keeps only the shortened text, because the result itself may be a million times larger.
type row struct {
	result
	shown []byte // shown in place of the value or the error
}

func (t *tableOutput) add(r *result) error {
	var place *row
	switch {
	case t.n < tableHead:
		t.head = append(t.head, row{})
		place = &t.head[t.n]
	case len(t.tail) < tableTail:
		t.tail = append(t.tail, row{})
		place = &t.tail[len(t.tail)-1]
	default:
		place = &t.tail[(t.n-tableHead)%tableTail]
	}
	shown := place.shown[:0]
	switch {
	case r.Err != nil:
		shown = append(shown, shorten(string(r.Err.Kind)+": "+r.Err.Message, cellWidth)...)
	case len(r.Value) <= cellWidth:
		shown = append(shown, r.Value...)
	default:
		shown = append(shown, shorten(r.Value, cellWidth)...)
	}
	*place = row{*r, shown}
	place.Value, place.Err = nil, nil
	t.n++
	return nil
}

func (t *tableOutput) end() error {
	if t.n == 0 {
		return nil
	}
	w := newTable("item", "result", "worker", "pid", "wait ms", "run ms")
	w.alignRight(1, 3, 4, 5, 6)
	row := func(r *row) {
		w.row(r.Index, shorten(r.shown, cellWidth), r.Worker, r.PID, millis(r.Wait), millis(r.Run))
	}
	for i := range t.head {
		row(&t.head[i])
	}
	if left := t.n - len(t.head) - len(t.tail); left > 0 {
		w.row("…", fmt.Sprintf("%d more", left))
	}
	for i := range t.tail {
		row(&t.tail[(max(0, t.n-tableHead-tableTail)+i)%len(t.tail)])
	}
	return t.out.printf("%s\n", w.layout())
}

func millis(d time.Duration) string { return string(appendMillis(nil, d)) }

// shorten returns a text on one line. If the text is longer than width characters, shorten keeps only its beginning and its end. It copies no more
// than that of a large text.
func shorten[T ~string | ~[]byte](text T, width int) string {
	b := []byte(text)
	n := utf8.RuneCount(b)
	if n <= width {
		return blank(b)
	}
	note := fmt.Sprintf("…%d more…", n-width)
	keep := width - utf8.RuneCountInString(note)
	head, tail := 0, len(b)
	for range keep / 2 {
		_, size := utf8.DecodeRune(b[head:])
		head += size
	}
	for range keep - keep/2 {
		_, size := utf8.DecodeLastRune(b[:tail])
		tail -= size
	}
	return blank(b[:head]) + note + blank(b[tail:])
}

// blank replaces characters that cannot be printed by spaces.
func blank(text []byte) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, string(text))
}

type noOutput struct{}

func (noOutput) add(*result) error { return nil }
func (noOutput) end() error        { return nil }
