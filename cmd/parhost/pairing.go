package main

import (
	"bytes"
	"encoding/json"
	"iter"
	"sync"

	"github.com/parhost/parhost/internal/wire"
)

// This file pairs results with their items, for --keep-lines and --with-item.

// underWay keeps the texts of the items that have no result yet.
type underWay struct {
	mu    sync.Mutex
	next  int // index of the next item
	items map[int]json.RawMessage
}

func newUnderWay() *underWay { return &underWay{items: map[int]json.RawMessage{}} }

// watch returns an iterator over items that also stores each item.
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

// take returns the text of an item that has its result, and removes it from the store.
func (u *underWay) take(index int) json.RawMessage {
	u.mu.Lock()
	defer u.mu.Unlock()
	item := u.items[index]
	delete(u.items, index)
	return item
}

// checkPairing refuses --keep-lines and --with-item where the output format or --unordered makes pairing impossible.
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

// pair gives the output what it needs of the source.
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

// appendBlanks appends a line break for each blank line before the item in line at, and remembers this line.
func (v *valueOutput) appendBlanks(dst []byte, at int) []byte {
	if at <= v.at { // with --repeat, the input starts again
		v.at = 0
	}
	for v.at++; v.at < at; v.at++ {
		dst = append(dst, '\n')
	}
	return dst
}

// appendItem appends an item as one line of JSON. An item that is not valid JSON in UTF-8 becomes a JSON string.
func appendItem(dst []byte, item json.RawMessage) []byte {
	var line bytes.Buffer
	if wire.IsJSON(item) && json.Compact(&line, item) == nil {
		return append(dst, line.Bytes()...)
	}
	text, err := json.Marshal(string(item))
	if err != nil { // a string cannot fail to encode
		panic(err)
	}
	return append(dst, text...)
}
