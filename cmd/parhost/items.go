package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"math"
	"os"
	"runtime/debug"
	"sort"
	"strconv"
	"strings"
	"sync"

	"github.com/parhost/parhost/internal/plain"
	"github.com/parhost/parhost/internal/wire"
)

// source is where the items of a run come from. One goroutine at a time reads it.
type source struct {
	supply
	count int         // -1 if nobody knows
	lines *lineReader // nil if items have no lines
	close func()

	unread json.RawMessage // the next item, if it was given back
	given  bool            // it was
}

// supply gives out items one by one.
type supply interface {
	next() (item json.RawMessage, ok bool)
}

// total is how many items there are, -1 if nobody knows; of a file whose end is still to come it is an estimate.
func (s *source) total() (n int, estimate bool) {
	if s.count >= 0 || s.lines == nil {
		return s.count, false
	}
	return s.lines.total()
}

// next returns the next item, or false when there is none any more.
func (s *source) next() (item json.RawMessage, ok bool) {
	if s.given {
		s.given = false
		return s.unread, true
	}
	return s.supply.next()
}

// giveBack makes item the next one.
func (s *source) giveBack(item json.RawMessage) { s.unread, s.given = item, true }

// items yields the items as they are.
func (s *source) items(yield func(json.RawMessage) bool) {
	for item, ok := s.next(); ok && yield(item); {
		item, ok = s.next()
	}
}

// number is what items and results of most numeric workloads are.
type number interface{ int64 | float64 }

// numbers yields the items as numbers, up to the first that is none: it stays in the source.
func numbers[N number](s *source) iter.Seq[N] {
	return func(yield func(N) bool) {
		if r, ok := s.supply.(*rangeItems); ok {
			for n, ok := r.integer(); ok && yield(N(n)); { // rounded to the nearest, as its digits would be
				n, ok = r.integer()
			}
			return
		}
		if s.lines != nil {
			s.lines.loose = true
			defer func() { s.lines.loose = false }() // the one that stays is kept, and so are those behind it
		}
		codec := wire.CodecOf[N]()
		for item, ok := s.next(); ok; item, ok = s.next() {
			n, err := codec.DecodeJSON(item)
			if err != nil {
				s.giveBack(item)
				return
			}
			if !yield(n) {
				return
			}
		}
	}
}

// failure is why reading stopped early, once there is no item any more.
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
		return &source{supply: &rangeItems{span: span, rounds: o.repeat}, count: o.repeat * span.count(), close: func() {}}, nil
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
	return &source{supply: &listItems{items: items, rounds: o.repeat}, count: o.repeat * len(items), close: func() {}}, nil
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
		given = append(given, fmt.Sprintf("%s (%q …)", wire.Count(len(o.items), "argument"), o.items[0]))
	}
	if len(given) > 1 {
		return usageError("keep one of them", "items come from %s at once", strings.Join(given, " and "))
	}
	if o.repeat > 1 && o.input != "" {
		name := fmt.Sprintf("--input %q", o.input)
		info, err := os.Stat(o.input)
		if o.input == "-" {
			name, err = "stdin", nil
		}
		if err == nil && (o.input == "-" || !info.Mode().IsRegular() && !info.IsDir()) {
			return usageError("save the items to a file and give --input FILE --repeat N", "--repeat %d: %s can be read only once", o.repeat, name)
		}
	}
	return nil
}

// listItems gives out a list some number of times.
type listItems struct {
	items  []json.RawMessage
	rounds int
	left   []json.RawMessage // of this round
}

func (l *listItems) next() (item json.RawMessage, ok bool) {
	if len(l.left) == 0 {
		if l.rounds == 0 || len(l.items) == 0 {
			return nil, false
		}
		l.rounds--
		l.left = l.items
	}
	item, l.left = l.left[0], l.left[1:]
	return item, true
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

// rangeItems gives out the integers of a span some number of times.
type rangeItems struct {
	span
	rounds int
	n      int64  // the next integer
	left   int    // of this round
	block  []byte // many texts share one piece of memory
}

// integer returns the next one.
func (r *rangeItems) integer() (n int64, ok bool) {
	if r.left == 0 {
		if r.rounds == 0 {
			return 0, false
		}
		r.rounds--
		r.n, r.left = r.start, r.count()
	}
	n = r.n
	r.n += r.step
	r.left--
	return n, true
}

func (r *rangeItems) next() (item json.RawMessage, ok bool) {
	n, ok := r.integer()
	if !ok {
		return nil, false
	}
	if cap(r.block)-len(r.block) < 20 {
		r.block = make([]byte, 0, 16<<10)
	}
	at := len(r.block)
	r.block = strconv.AppendInt(r.block, n, 10)
	return r.block[at:len(r.block):len(r.block)], true
}

// openInput opens --input.
func openInput(s *streams, o *options) (*source, error) {
	if o.input == "-" {
		if wasClosed(s.in) {
			return nil, usageError("give it a file or a pipe; a /dev/null that is open for writing too counts as closed", "stdin is closed, and --input - reads items from it")
		}
		in := patient(s.in)
		if o.stdinTaken {
			in = &announcedReader{Reader: in, say: s.say}
		}
		r := &lineReader{r: in, name: "stdin", most: o.longestLine(), rounds: 1, size: leftOf(s.in)}
		if regular(s.in) != nil {
			r.file = fileOf(s.in)
		}
		return &source{supply: r, count: -1, lines: r, close: func() {}}, nil
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
	r := &lineReader{r: f, name: o.input, most: o.longestLine(), rounds: o.repeat, size: leftOf(f)}
	if regular(f) != nil {
		r.file = f
	}
	return &source{supply: r, count: -1, lines: r, close: func() { _ = f.Close() }}, nil
}

// maxLine bounds one line of input: an item of the largest size with some white space around it.
const maxLine = 65 << 20

// longestLine returns the largest length of an input line: maxLine, or more if --max-item-bytes asks for it. It is at most a quarter of the memory that
// this process may use, because a line is copied several times.
func (o *options) longestLine() int {
	return int(min(int64(o.longestItem()), debug.SetMemoryLimit(-1)/4))
}

func (o *options) longestItem() int {
	n, err := parseBytes("max-item-bytes", o.maxItem)
	if err != nil || n > math.MaxInt32 {
		return maxLine // what is wrong with it is said elsewhere
	}
	return max(maxLine, int(n)+1<<20)
}

// leftOf is how many bytes are to be read of a regular file, 0 if nobody knows.
func leftOf(stream any) int64 {
	f, info := fileOf(stream), regular(stream)
	if info == nil {
		return 0
	}
	at, err := f.Seek(0, io.SeekCurrent)
	if err != nil {
		return 0
	}
	return max(0, info.Size()-at)
}

// lineReader cuts a stream into lines, some number of times if it can be wound back. Blank lines are no items.
//
// Lines lie in the blocks that they were read in, which nobody writes to again while they are kept.
type lineReader struct {
	r      io.Reader
	name   string
	most   int
	rounds int
	size   int64    // of a round in bytes; 0 if it is not known
	file   *os.File // what r reads, if it is a regular file

	block []byte
	from  int  // of the line that has not ended
	scan  int  // up to here it holds no line break
	ended bool // there is nothing to read any more
	begun bool // the first bytes have been looked at
	loose bool // lines are not kept

	firstBad bool // the first item is no JSON

	at    int // lines given out in this round
	index int // of the next item
	above int // by how much the last item's line is numbered higher than the item

	got  int64 // bytes read in this round
	past int64 // and in those before

	mu    sync.Mutex
	jumps []jump
	err   error
	known known
}

// known is what has been read so far, for an estimate of what is to come.
type known struct {
	items int   // in whole lines, in all rounds
	bytes int64 // of these lines
	all   int64 // bytes of all rounds
	ended bool  // there are no more
}

// total is how many items there are, -1 if nobody knows. It is an estimate, by the size of the file, until the end has been read.
func (l *lineReader) total() (n int, estimate bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch k := &l.known; {
	case k.ended:
		return k.items, false
	case k.bytes == 0 || k.all == 0:
		return -1, false
	default:
		return int(min(float64(k.items)*max(1, float64(k.all)/float64(k.bytes)), math.MaxInt32)), true
	}
}

// learn notes down how far the reading is.
func (l *lineReader) learn(ended bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.known.items, l.known.ended = l.index, ended
	if l.size > 0 {
		l.known.bytes, l.known.all = l.past+l.got-int64(len(l.block)-l.from), l.past+l.size*int64(max(1, l.rounds))
	}
}

// jump says that the items from index on stand on consecutive lines, from line on.
type jump struct{ index, line int }

const (
	blockBytes = 256 << 10
	largeLine  = 1 << 20 // bytes of a line from which on its block gets the size of the line, or grows by a quarter where that is not known
)

func (l *lineReader) next() (item json.RawMessage, ok bool) {
	for {
		line, ok := l.cut()
		if !ok {
			if l.rounds--; l.rounds <= 0 || l.failure() != nil || !l.rewind() {
				l.learn(true)
				return nil, false
			}
			continue
		}
		l.at++
		if line = bytes.TrimSpace(line); len(line) > 0 {
			if l.index == 0 {
				l.lookAtFirst(line)
			}
			l.count()
			return line, true
		}
	}
}

// count gives the line just read the next item's index.
func (l *lineReader) count() {
	if above := l.at - l.index; above != l.above {
		l.above = above
		l.mu.Lock()
		l.jumps = append(l.jumps, jump{index: l.index, line: l.at})
		l.mu.Unlock()
	}
	l.index++
}

// cut returns the next line.
func (l *lineReader) cut() (line []byte, ok bool) {
	for {
		if i := bytes.IndexByte(l.block[l.scan:], '\n'); i >= 0 {
			end := l.scan + i
			line = l.block[l.from:end:end]
			l.from, l.scan = end+1, end+1
			return line, true
		}
		if l.ended {
			line, l.block = l.block[l.from:], nil
			l.from, l.scan = 0, 0
			return line, len(line) > 0 && l.failure() == nil
		}
		l.scan = len(l.block)
		l.read()
	}
}

// read adds to the block.
func (l *lineReader) read() {
	if len(l.block) == cap(l.block) && !l.makeRoom() {
		l.fail(fmt.Errorf("read %s: line %d is longer than %d bytes%s", l.name, l.at+1, l.most, l.scarce()))
		return
	}
	n, err := l.r.Read(l.block[len(l.block):cap(l.block)])
	l.learn(false)
	l.block, l.got = l.block[:len(l.block)+n], l.got+int64(n)
	if !l.begun && (err != nil || !beginsMark(l.block)) {
		l.begin()
	}
	switch {
	case err == io.EOF:
		l.ended = true
	case err != nil:
		l.fail(fmt.Errorf("read %s: %w", l.name, plain.Cause(err)))
	}
}

// scarce says that memory bounds the length of a line, and is empty where --max-item-bytes does.
func (l *lineReader) scarce() string {
	if limit := debug.SetMemoryLimit(-1); int64(l.most) == limit/4 {
		return fmt.Sprintf(", a quarter of the %d bytes that parhost may take itself (GOMEMLIMIT, by default a quarter of its cgroup's memory limit)", limit)
	}
	return ""
}

// What files of other encodings, or of some editors, begin with: byte order marks.
var (
	utf8Mark   = []byte("\xef\xbb\xbf")
	utf16Marks = [][]byte{[]byte("\xff\xfe"), []byte("\xfe\xff")}
)

// beginsMark reports whether the first bytes of an input may become a mark with those that come next.
func beginsMark(first []byte) bool {
	return len(first) < len(utf8Mark) && bytes.HasPrefix(utf8Mark, first) ||
		len(first) == 1 && (first[0] == utf16Marks[0][0] || first[0] == utf16Marks[1][0])
}

// begin looks at the first bytes of a round. The mark of UTF-8 is no part of the first item.
func (l *lineReader) begin() {
	l.begun = true
	if bytes.HasPrefix(l.block, utf8Mark) {
		l.from, l.scan = len(utf8Mark), len(utf8Mark)
	}
	for _, mark := range utf16Marks {
		if bytes.HasPrefix(l.block, mark) {
			l.block, l.from, l.scan = nil, 0, 0
			l.fail(fmt.Errorf("read %s: it is UTF-16, and items are read as UTF-8: convert it, as with iconv -f UTF-16 -t UTF-8", l.name))
		}
	}
}

// makeRoom moves the line that has not ended to the front of a block, larger if it fills one, and reports whether it may be as long.
func (l *lineReader) makeRoom() bool {
	rest := l.block[l.from:]
	if len(rest) > l.most {
		return false
	}
	size := max(blockBytes, 2*len(rest))
	if len(rest) >= largeLine { // a block is kept as long as a line in it
		size = len(rest) + l.ahead(len(rest)/4, l.most-len(rest)+1)
	}
	if !l.loose || cap(l.block) < size {
		l.block = append(make([]byte, 0, size), rest...)
	} else {
		l.block = l.block[:copy(l.block, rest)]
	}
	l.from, l.scan = 0, len(rest)
	return true
}

// ahead returns how many bytes of the file are left of the line that is being read, its end included and at most so many. If the stream has no such
// file, it returns guess.
func (l *lineReader) ahead(guess, most int) int {
	if l.file == nil {
		return guess
	}
	at, err := l.file.Seek(0, io.SeekCurrent)
	if err != nil {
		return guess
	}
	block := make([]byte, blockBytes)
	for n := 0; n < most; {
		got, err := l.file.ReadAt(block, at+int64(n))
		if i := bytes.IndexByte(block[:got], '\n'); i >= 0 {
			return min(n+i+1, most)
		}
		n += got
		if err != nil { // the end of the file, or what the next read will say
			return max(1, min(n+1, most)) // one more, so that the read which finds the end has room
		}
	}
	return most
}

// rewind goes back to the first line.
func (l *lineReader) rewind() bool {
	s, ok := l.r.(io.Seeker)
	if !ok {
		return false
	}
	if _, err := s.Seek(0, io.SeekStart); err != nil {
		l.fail(fmt.Errorf("read %s again: %w", l.name, plain.Cause(err)))
		return false
	}
	l.past, l.got = l.past+l.got, 0
	l.block, l.from, l.scan, l.ended, l.begun, l.at = nil, 0, 0, false, false, 0
	return true
}

// line returns the number of the line, from 1, in which item index stood.
func (l *lineReader) line(index int) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	next := sort.Search(len(l.jumps), func(i int) bool { return l.jumps[i].index > index })
	if next == 0 {
		return index + 1
	}
	last := l.jumps[next-1]
	return last.line + index - last.index
}

// fail ends the reading; the lines that have ended are items all the same.
func (l *lineReader) fail(err error) {
	l.ended = true
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err = err
}

func (l *lineReader) failure() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}
