package main

import (
	"bytes"
	"encoding/json"
	"iter"
	"sync"

	"github.com/parhost/parhost/internal/wire"
)

// How results are paired with their items: by --keep-lines, and by --with-item.

// underWay keeps the texts of items that have no result yet.
type underWay struct {
	mu    sync.Mutex
	next  int // index of the next item
	items map[int]json.RawMessage
}

func newUnderWay() *underWay { return &underWay{items: map[int]json.RawMessage{}} }

// watch notes down the items as they are read.
func (u *underWay) watch(items iter.Seq[json.RawMessage]) iter.Seq[json.RawMessage] {
	return func(yield func(json.RawMessage) bool) {
		for item := range items {
			u.mu.Lock()
			u.items[u.next] = item
			u.next++
			u.mu.Unlock()
			if !yield(item) {
				return
			}
		}
	}
}

// take returns the text of an item that has its result, and forgets it.
func (u *underWay) take(index int) json.RawMessage {
	u.mu.Lock()
	defer u.mu.Unlock()
	item := u.items[index]
	delete(u.items, index)
	return item
}

// checkPairing refuses flags that pair results with items where the output cannot.
func checkPairing(o *options, format string) error {
	switch {
	case o.keepLines && format != "values":
		return usageError("write --output values --keep-lines", "--keep-lines goes with --output values, not with %s", format)
	case o.keepLines && o.unordered:
		return usageError("leave one of them out, or write --output jsonl --with-item", "--keep-lines pairs lines by their order, and --unordered gives it up")
	case o.withItem && format != "jsonl":
		return usageError("write --output jsonl --with-item", "--with-item goes with --output jsonl, not with %s", format)
	}
	return nil
}

// pair tells the output what it needs of the source.
func (r *itemRun) pair() {
	switch out := r.out.(type) {
	case *valueOutput:
		if r.keepLines {
			out.keep, out.lines = true, r.source.lines
		}
	case *recordOutput:
		if r.withItem {
			r.underWay = newUnderWay()
			out.itemOf = r.underWay.take
		}
	}
}

// appendBlanks appends the line breaks of the blank lines before an item, and notes down that its own line follows.
func (v *valueOutput) appendBlanks(dst []byte, at int) []byte {
	if at <= v.at { // the input is read once more
		v.at = 0
	}
	for v.at++; v.at < at; v.at++ {
		dst = append(dst, '\n')
	}
	return dst
}

// appendItem appends an item as one line of JSON: as a text if it is no JSON in UTF-8.
func appendItem(dst []byte, item json.RawMessage) []byte {
	var line bytes.Buffer
	if wire.IsJSON(item) && json.Compact(&line, item) == nil {
		return append(dst, line.Bytes()...)
	}
	text, err := json.Marshal(string(item))
	if err != nil { // no string fails
		panic(err)
	}
	return append(dst, text...)
}
