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

// source supplies the items of a run. Only one goroutine at a time may read it.
type source struct {
	supply
	count int         // number of items; -1 if unknown
	lines *lineReader // nil if the items are not lines of an input
	close func()

	unread json.RawMessage // the next item, if it was given back
	given  bool            // unread is set
}

// supply returns items one by one.
type supply interface {
	next() (item json.RawMessage, ok bool)
}

// total returns the number of items, or -1 if it is unknown. It is an estimate for a file that has not been read to its end.
func (s *source) total() (n int, estimate bool) {
	if s.count >= 0 || s.lines == nil {
		return s.count, false
	}
	return s.lines.total()
}

// next returns the next item, or false if there is none left.
func (s *source) next() (item json.RawMessage, ok bool) {
	if s.given {
		s.given = false
		return s.unread, true
	}
	return s.supply.next()
}

// giveBack puts item back, so that next returns it again. There is room for only one item.
func (s *source) giveBack(item json.RawMessage) { s.unread, s.given = item, true }

// items yields the items as JSON texts.
func (s *source) items(yield func(json.RawMessage) bool) {
	for item, ok := s.next(); ok && yield(item); {
		item, ok = s.next()
	}
}

// number is the type of the items and results of most numeric workloads.
type number interface{ int64 | float64 }

// numbers yields the items as numbers. It stops at the first item that is not a number and leaves that item in the source.
func numbers[N number](s *source) iter.Seq[N] {
	return func(yield func(N) bool) {
		if r, ok := s.supply.(*rangeItems); ok {
			for n, ok := r.integer(); ok && yield(N(n)); { // the conversion rounds to the nearest number, as parsing the digits would
				n, ok = r.integer()
			}
			return
		}
		if s.lines != nil {
			s.lines.loose = true
			defer func() { s.lines.loose = false }() // the item that stays in the source must be kept, and all later ones
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

// failure returns why reading stopped early, or nil. It is final only after next has returned false.
func (s *source) failure() error {
	if s.lines == nil {
		return nil
	}
	return s.lines.failure()
}

// place returns the line of the item with the given index, or "" if the source has no lines.
func (s *source) place(index int) string {
	if s.lines == nil {
		return ""
	}
	return "line " + strconv.Itoa(s.lines.line(index))
}

// openSource opens the source that the flags name. If they name none, it returns examples, the plugin's own items.
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

// checkSources refuses more than one source of items, before anything is started.
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

// listItems returns the items of a list, rounds times over.
type listItems struct {
	items  []json.RawMessage
	rounds int
	left   []json.RawMessage // items left in this round
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

// span is the value of --range.
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

// count returns the number of items. It computes the differences as uint64, because the difference of two int64 values may not fit into an int64.
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

// rangeItems returns the integers of a span, rounds times over.
type rangeItems struct {
	span
	rounds int
	n      int64  // the next integer
	left   int    // integers left in this round
	block  []byte // memory that many item texts share, which saves allocations
}

// integer returns the next integer, or false if there is none left.
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

// openInput opens the source of --input.
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

// maxLine is the default limit of an input line in bytes: an item of the largest default size and some white space.
const maxLine = 65 << 20

// longestLine returns the largest length of an input line in bytes: maxLine, or more if --max-item-bytes asks for it. It is at most a quarter of the
// memory that this process may use, because a line is copied several times.
func (o *options) longestLine() int {
	return int(min(int64(o.longestItem()), debug.SetMemoryLimit(-1)/4))
}

func (o *options) longestItem() int {
	n, err := parseBytes("max-item-bytes", o.maxItem)
	if err != nil || n > math.MaxInt32 {
		return maxLine // other code reports the error
	}
	return max(maxLine, int(n)+1<<20)
}

// leftOf returns how many bytes of a regular file are left to read, or 0 if that is unknown.
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

// lineReader cuts a stream into lines, rounds times over if the stream can seek. Blank lines are not items.
//
// The returned lines share the memory of the blocks that were read. A block is not overwritten, unless loose is set.
type lineReader struct {
	r      io.Reader
	name   string
	most   int // largest length of a line in bytes
	rounds int
	size   int64    // bytes of one round; 0 if unknown
	file   *os.File // the file that r reads, if it is a regular file

	block []byte
	from  int  // offset in block of the current line
	scan  int  // offset in block up to which the current line has no line break
	ended bool // the round has been read to its end, or reading failed
	begun bool // begin has checked the first bytes of the round
	loose bool // the caller does not keep lines, so blocks may be overwritten

	firstBad bool // the first item is not JSON

	at    int // lines returned in this round, including blank lines
	index int // index of the next item
	above int // line number of the last item minus its index

	got  int64 // bytes read in this round
	past int64 // bytes read in earlier rounds

	mu    sync.Mutex
	jumps []jump
	err   error
	known known
}

// known is what has been read so far, from which total estimates the number of items.
type known struct {
	items int   // items in complete lines, in all rounds
	bytes int64 // bytes of these lines
	all   int64 // bytes of all rounds
	ended bool  // there are no more items
}

// total returns the number of items, or -1 if it is unknown. Until the end has been read, it is an estimate from the size of the file.
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

// learn updates known with the progress of reading.
func (l *lineReader) learn(ended bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.known.items, l.known.ended = l.index, ended
	if l.size > 0 {
		l.known.bytes, l.known.all = l.past+l.got-int64(len(l.block)-l.from), l.past+l.size*int64(max(1, l.rounds))
	}
}

// jump says that the items from index on stand on consecutive lines, starting at line.
type jump struct{ index, line int }

const (
	blockBytes = 256 << 10
	largeLine  = 1 << 20 // bytes; a longer line gets a block of exactly its size, or one that grows by a quarter if that size is unknown
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

// count gives the line that was just read the index of the next item.
func (l *lineReader) count() {
	if above := l.at - l.index; above != l.above {
		l.above = above
		l.mu.Lock()
		l.jumps = append(l.jumps, jump{index: l.index, line: l.at})
		l.mu.Unlock()
	}
	l.index++
}

// cut returns the next line, without its line break.
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

// read reads more bytes into the block.
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

// scarce returns an explanation if memory limits the length of a line, and "" if --max-item-bytes does.
func (l *lineReader) scarce() string {
	if limit := debug.SetMemoryLimit(-1); int64(l.most) == limit/4 {
		return fmt.Sprintf(", a quarter of the %d bytes that parhost may take itself (GOMEMLIMIT, by default a quarter of its cgroup's memory limit)", limit)
	}
	return ""
}

// Byte order marks at the beginning of files: some editors write that of UTF-8, and UTF-16 files have one too.
var (
	utf8Mark   = []byte("\xef\xbb\xbf")
	utf16Marks = [][]byte{[]byte("\xff\xfe"), []byte("\xfe\xff")}
)

// beginsMark reports whether the first bytes of an input are the beginning of a byte order mark that needs more bytes to be recognised.
func beginsMark(first []byte) bool {
	return len(first) < len(utf8Mark) && bytes.HasPrefix(utf8Mark, first) ||
		len(first) == 1 && (first[0] == utf16Marks[0][0] || first[0] == utf16Marks[1][0])
}

// begin checks the first bytes of a round. It skips the byte order mark of UTF-8, and fails on that of UTF-16.
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

// makeRoom moves the incomplete line to the front of a new or larger block. It returns false if the line is longer than the limit.
func (l *lineReader) makeRoom() bool {
	rest := l.block[l.from:]
	if len(rest) > l.most {
		return false
	}
	size := max(blockBytes, 2*len(rest))
	if len(rest) >= largeLine { // a kept line keeps its whole block in memory, so a large line gets a block of its own size
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

// ahead looks ahead in the file and returns how many more bytes the current line has, including its line break, but at most most. It returns guess if
// the stream is not a regular file or cannot seek.
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
		if err != nil { // the end of the file, or an error that the next read returns too
			return max(1, min(n+1, most)) // one byte more, so that the read that finds the end has room
		}
	}
	return most
}

// rewind goes back to the first line for the next round. It returns false if the stream cannot seek.
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

// line returns the number, from 1, of the line in which the item with the given index stood.
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

// fail ends the reading with an error. The complete lines read before are still returned.
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
