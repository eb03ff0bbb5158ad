package wire

import (
	"encoding/binary"
	"fmt"
	"math"
)

// A column holds n values of one kind back to back.
//
// Fixed kinds (numbers): n values of the kind's width, little-endian.
//
// All other kinds: n lengths (uint32, little-endian), zero bytes up to a multiple of 8, then the values. A value of a slice kind is preceded by
// zero bytes up to a multiple of 8, so that a mapped column can be read in place.

// headerBytes returns the size of the table of n lengths, with its padding.
func headerBytes(n int) int { return align8(4 * n) }

func align8(n int) int { return (n + 7) &^ 7 }

// ColumnBytes returns the largest size of a column of n values that together have size bytes.
func ColumnBytes(n, size int) int { return headerBytes(n) + size + 8*n }

// ColumnWriter builds a column of values of varying length. The zero value is an empty column of unaligned values.
type ColumnWriter struct {
	buf     []byte // head bytes for the table, then the values
	head    int    // bytes at the beginning of buf that are kept free for the table
	lengths []uint32
	start   int // offset in buf of the value that Begin began
	aligned bool
	room    []byte // the caller's memory in which buf began, or nil
}

// Reset empties the column. If aligned is true, each value starts at a multiple of 8.
func (w *ColumnWriter) Reset(aligned bool) {
	w.lengths = w.lengths[:0]
	w.buf, w.head, w.room, w.aligned = nil, 0, nil, aligned
}

// ResetIn empties the column, and has the next one built in room. most is the largest number of values that the next column may get. If the values do
// not fit into room, the writer moves them to memory of its own.
func (w *ColumnWriter) ResetIn(aligned bool, room []byte, most int) {
	w.Reset(aligned)
	if head := headerBytes(most); len(room) > head {
		w.buf, w.head, w.room = room[:head:len(room)], head, room
	}
}

// Begin returns the buffer to which the caller appends the next value. Pass the result to [ColumnWriter.End], or drop it to add no value.
func (w *ColumnWriter) Begin() []byte {
	buf := w.buf
	if w.aligned {
		for len(buf)%8 != 0 {
			buf = append(buf, 0)
		}
	}
	w.start = len(buf)
	return buf
}

// End adds the bytes that were appended to data since Begin as one value, and returns their number.
func (w *ColumnWriter) End(data []byte) int {
	size := len(data) - w.start
	w.buf = data
	w.lengths = append(w.lengths, uint32(size))
	return size
}

// Empty adds a value of no bytes.
func (w *ColumnWriter) Empty() { w.End(w.Begin()) }

// Len returns the number of values.
func (w *ColumnWriter) Len() int { return len(w.lengths) }

// Size returns the number of bytes of the column.
func (w *ColumnWriter) Size() int { return headerBytes(len(w.lengths)) + len(w.buf) - w.head }

// Bytes returns the column. The writer does not use its memory again, unless it is room given to [ColumnWriter.ResetIn].
func (w *ColumnWriter) Bytes() []byte {
	table := headerBytes(len(w.lengths))
	if table > w.head {
		out := make([]byte, table, table+len(w.buf)-w.head)
		w.putTable(out)
		return append(out, w.buf[w.head:]...)
	}
	out := w.buf[w.head-table:]
	w.putTable(out)
	return out
}

// putTable writes the lengths, and zero bytes up to the values.
func (w *ColumnWriter) putTable(out []byte) {
	for i, n := range w.lengths {
		binary.LittleEndian.PutUint32(out[4*i:], n)
	}
	clear(out[4*len(w.lengths) : headerBytes(len(w.lengths))])
}

// InRoom returns the place of the column within the room that was given to [ColumnWriter.ResetIn]. ok is false if the column does not lie there.
func (w *ColumnWriter) InRoom() (at, size int, ok bool) {
	table := headerBytes(len(w.lengths))
	if w.room == nil || table > w.head || &w.buf[:1][0] != &w.room[0] {
		return 0, 0, false
	}
	return w.head - table, len(w.buf) - w.head + table, true
}

// Column reads a column of values of varying length, one value after the other.
type Column struct {
	table   []byte // lengths of the values that are not read yet
	data    []byte
	at      int
	aligned bool
}

// OpenColumn returns a reader of a column. It returns an error unless b is exactly a column of n values; b may be any bytes.
func OpenColumn(b []byte, n int, aligned bool) (Column, error) {
	head := headerBytes(n)
	if n < 0 || n > math.MaxInt32 || len(b) < head {
		return Column{}, fmt.Errorf("column of %d values needs a table of %d bytes, got %d bytes", n, head, len(b))
	}
	c := Column{table: b[:4*n], data: b[head:], aligned: aligned}
	end := 0
	for i := range n {
		if aligned {
			end = align8(end)
		}
		end += int(binary.LittleEndian.Uint32(c.table[4*i:]))
		if end > len(c.data) {
			return Column{}, fmt.Errorf("column of %d values: value %d ends at byte %d of %d", n, i, end, len(c.data))
		}
	}
	if end != len(c.data) {
		return Column{}, fmt.Errorf("column of %d values: %d bytes behind the last value", n, len(c.data)-end)
	}
	return c, nil
}

// Next returns the bytes of the next value, which share the column's memory. It must not be called more often than there are values.
func (c *Column) Next() []byte {
	if c.aligned {
		c.at = align8(c.at)
	}
	end := c.at + int(binary.LittleEndian.Uint32(c.table))
	v := c.data[c.at:end:end]
	c.table, c.at = c.table[4:], end
	return v
}

// EmptyColumn returns a column of n empty values. width is the bytes of a value of a fixed kind, which are then zero; it is 0 for all other kinds.
func EmptyColumn(n, width int) []byte {
	if width > 0 {
		return make([]byte, n*width)
	}
	return make([]byte, headerBytes(n))
}
