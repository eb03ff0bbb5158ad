package child

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/parhost/parhost/internal/bound"
	"github.com/parhost/parhost/internal/lastword"
	"github.com/parhost/parhost/internal/wire"
)

const (
	tailLines = 40       // lines of a process's output that are kept for the report of its death
	tailWidth = 1 << 10  // bytes of each of these lines
	lineWidth = 64 << 10 // bytes of a line that the logger gets
	dumpWidth = 64 << 10 // bytes of output that are kept from a verdict on
)

// output reads what a process writes on stdout and stderr. It keeps the last lines, and passes all lines to the logger.
type output struct {
	logger  hclog.Logger
	rate    *rateLimiter
	item    func() (index int, ok bool) // returns the item that a line is likely to come from; may be nil
	from    []*source                   // sources of the lines, set when the process has been started
	readers sync.WaitGroup

	mu       sync.Mutex
	count    int // lines so far
	tail     []string
	verdicts []verdict
	dump     []byte // output from a verdict on
}

// verdict is a line that says why a process is about to die, according to [lastword.Is]. A Go program writes all its goroutines after it, so the verdict
// may not be among the last lines.
type verdict struct {
	number int      // number of its first line
	lines  []string // only the text of a panic or an exception may have several lines
	grows  bool     // the next line may belong to the text
	size   int      // total bytes of the lines
	stack  string   // the line that ends the text, such as the first one of the stack behind a panic
}

// take adds the next line of output to the text of a panic, and reports whether the line belongs to that text. Lines beyond the bounds are left out.
func (v *verdict) take(line string) bool {
	indented := strings.HasPrefix(line, "\t") && !lastword.IsPanic(line)
	switch {
	case !v.grows:
	case !lastword.IsPanic(v.lines[0]) && lastword.EndsText(line):
		if v.grows = false; !lastword.Is(line) { // a last word becomes a verdict of its own
			v.stack = bound.Text(line, tailWidth)
		}
	case lastword.IsGoroutine(line):
		v.stack, v.grows = bound.Text(line, tailWidth), false
	case !indented && lastword.Is(line):
		v.grows = false
	case len(v.lines) <= lastword.MaxPanicLines && v.size <= lastword.MaxPanicText:
		v.lines = append(v.lines, bound.Text(line, tailWidth))
		v.size += len(line)
		return true
	default:
		v.grows = indented
	}
	return v.grows
}

// before returns the lines up to a line number, and the line that ends the text.
func (v *verdict) before(number int) []string {
	n := number - v.number + 1
	switch {
	case n <= 0:
		return nil
	case n < len(v.lines):
		return v.lines[:n]
	case !lastword.IsPanic(v.lines[0]) && (v.stack == "" || n == len(v.lines)):
		return v.lines
	case !lastword.IsPanic(v.lines[0]):
		return append(slices.Clip(v.lines), v.stack)
	case v.stack == "":
		return v.lines[:lastword.PanicLines(v.lines)]
	default:
		lines := append(slices.Clip(v.lines), v.stack)
		return append(slices.Clip(lines[:lastword.PanicLines(lines)]), v.stack)
	}
}

// maxVerdicts is how many verdicts are kept: the last ones.
const maxVerdicts = 4

// reader returns a reader of what the process writes to s.
func (o *output) reader(s *source) *bufio.Reader {
	return bufio.NewReaderSize(o.rate.reader(s), lineWidth)
}

// markReady is called when the worker is ready, before the host sends the first item. Lines that the worker wrote before belong to no item.
func (o *output) markReady() {
	for _, s := range o.from {
		s.markReady()
	}
}

// read reads lines until r ends. r reads from s.
func (o *output) read(r *bufio.Reader, s *source) {
	for {
		begin := s.position() - int64(r.Buffered())
		line, err := readLine(r, lineWidth)
		if line != "" {
			o.add(line, begin >= s.ready.Load())
		}
		if err != nil {
			return
		}
	}
}

// readLine returns the next line, of whatever length, cut to width or to the size of r's buffer.
func readLine(r *bufio.Reader, width int) (string, error) {
	line, err := r.ReadSlice('\n')
	text := strings.TrimRight(string(line[:min(len(line), width)]), "\r\n")
	for errors.Is(err, bufio.ErrBufferFull) {
		_, err = r.ReadSlice('\n')
	}
	return text, err
}

// add records a line. ready says that the process began the line after it was ready, so that the line may belong to an item.
func (o *output) add(line string, ready bool) {
	text := line
	var entry map[string]any
	if strings.HasPrefix(line, `{"@`) && readEntry(line, &entry) == nil {
		text = entryText(entry)
		o.log(entry, ready)
	} else if o.logger.IsInfo() { // skip the formatting if nobody reads it: a flood is expensive enough
		o.logger.Info(wire.Plain(line), o.printing(ready)...)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	continues := len(o.verdicts) > 0 && o.verdicts[len(o.verdicts)-1].take(text)
	isVerdict := !continues && lastword.Is(text)
	if isVerdict && len(o.dump) >= dumpWidth {
		o.dump = o.dump[:0] // the process went on after the earlier verdict
	}
	if (isVerdict || len(o.dump) > 0) && len(o.dump) < dumpWidth {
		o.dump = append(append(o.dump, text[:min(len(text), dumpWidth-len(o.dump))]...), '\n')
	}
	text = bound.Text(text, tailWidth)
	if len(o.tail) == tailLines {
		copy(o.tail, o.tail[1:])
		o.tail = o.tail[:tailLines-1]
	}
	o.tail = append(o.tail, text)
	o.count++
	// The line before a dump is the program's own last line. SIGQUIT, which the host sends, and abort(3) make such dumps.
	if (lastword.IsQuit(text) || lastword.IsAbort(text)) && len(o.tail) > 1 && !o.hasVerdict(o.count-1) {
		o.verdicts = append(o.verdicts, verdict{number: o.count - 1, lines: []string{o.tail[len(o.tail)-2]}})
	}
	if isVerdict {
		o.verdicts = append(o.verdicts, verdict{number: o.count, lines: []string{text}, grows: lastword.GrowsText(text)})
		o.verdicts = o.verdicts[max(0, len(o.verdicts)-maxVerdicts):]
	}
}

// hasVerdict reports whether the line with this number belongs to the last verdict. It is called with mu held.
func (o *output) hasVerdict(number int) bool {
	if len(o.verdicts) == 0 {
		return false
	}
	last := &o.verdicts[len(o.verdicts)-1]
	return number < last.number+len(last.lines)
}

// readEntry reads a line in hclog's format. Numbers keep their digits.
func readEntry(line string, entry *map[string]any) error {
	d := json.NewDecoder(strings.NewReader(line))
	d.UseNumber()
	if err := d.Decode(entry); err != nil {
		return err
	}
	if strings.TrimSpace(line[d.InputOffset():]) != "" {
		return errors.New("more than an object")
	}
	return nil
}

// entryText returns an hclog entry as text, with its fields, because the reason for a death is often in one of them.
func entryText(entry map[string]any) string {
	text, _ := entry["@message"].(string)
	sep := ": "
	for _, key := range slices.Sorted(maps.Keys(entry)) {
		if !strings.HasPrefix(key, "@") && key != "worker" && key != "item" {
			text += fmt.Sprintf("%s%s=%v", sep, key, entry[key])
			sep = " "
		}
	}
	return text
}

// printing returns the log field that names the item that has just printed, if that is clear.
func (o *output) printing(ready bool) []any {
	if o.item == nil || !ready {
		return nil
	}
	if index, ok := o.item(); ok {
		return []any{"item", index}
	}
	return nil
}

// plainValue converts a value from JSON to a value that is safe for a logger.
func plainValue(v any) any {
	switch v := v.(type) {
	case nil, bool:
		return v
	case json.Number:
		if f, err := v.Float64(); err == nil && strconv.FormatFloat(f, 'g', -1, 64) == v.String() {
			return f
		}
		return v.String()
	case string:
		return wire.Plain(v)
	default:
		return wire.Plain(fmt.Sprint(v))
	}
}

// plainKey returns the key of a field in a form that is safe for a logger. A key that only looks like one of the host's, or that looks like more than a key, is
// put in quotes, which the host's own keys never have.
func plainKey(key string) string {
	like := strings.ToLower(key)
	if strings.Trim(like, "abcdefghijklmnopqrstuvwxyz0123456789_.-") != "" || key == "" || key != like && (like == "worker" || like == "item") {
		return wire.Plain(strconv.Quote(key))
	}
	return key
}

// log passes on a line that the workload's own hclog wrote.
func (o *output) log(entry map[string]any, ready bool) {
	level, _ := entry["@level"].(string)
	message, _ := entry["@message"].(string)
	var pairs []any
	for key, value := range entry {
		if !strings.HasPrefix(key, "@") && key != "worker" { // the host's logger already names the worker
			pairs = append(pairs, plainKey(key), plainValue(value))
		}
	}
	_, named := entry["item"]
	if _, tagged := entry["worker"]; !named && !tagged { // a line that the SDK tagged with a worker but no item belongs to no item
		pairs = append(pairs, o.printing(ready)...)
	}
	// The level must not be off: hclog would write such a line at every level.
	o.logger.Log(min(max(hclog.Trace, hclog.LevelFromString(level)), hclog.Error), wire.Plain(message), pairs...)
}

// lines returns the last lines, and before them the verdicts that are not among them. It waits until the readers are done, but at most for the time patience,
// because a grandchild may hold the pipe open.
func (o *output) lines(patience time.Duration) []string {
	read := make(chan struct{})
	go func() {
		o.readers.Wait()
		close(read)
	}()
	select {
	case <-read:
	case <-time.After(patience):
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	var lines []string
	for _, v := range o.verdicts {
		lines = append(lines, v.before(o.count-len(o.tail))...)
	}
	return append(lines, o.tail...)
}

// lastWords returns the output from the last verdict on, up to a bound. It must be called after lines.
func (o *output) lastWords() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return bound.Text(string(o.dump), 3*dumpWidth) // an invalid UTF-8 byte becomes three bytes
}

// handshakeWidth is more bytes than a handshake line takes. With AutoMTLS the line contains a certificate.
const handshakeWidth = 8 << 10

// handshakeReader returns a reader that gives go-plugin only the first line of s. Later lines are output like any other. first also gets the line. go-plugin
// gets nothing if it must not see the line.
func (o *output) handshakeReader(s *source, first chan<- string) io.ReadCloser {
	pr, pw := io.Pipe()
	o.readers.Go(func() {
		b := o.reader(s)
		line, err := readLine(b, handshakeWidth)
		first <- line
		if checkLine(line) == nil {
			_, _ = io.WriteString(pw, line+"\n")
		}
		_ = pw.Close()
		if err == nil {
			o.read(b, s)
		}
	})
	return pr
}
