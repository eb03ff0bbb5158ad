package work

import (
	"fmt"
	"runtime/debug"

	"github.com/parhost/parhost/internal/wire"
)

// source gives out the items of a job in order.
type source[In any] struct {
	native []In // set for Go values and for fixed kinds
	at     int  // the next of them
	column wire.Column
	spread [][]byte // instead of the column
	decode func([]byte) (In, error)
}

// openSource lays out the items of j. Fixed kinds are read in place; others are decoded one by one, so that an item that does not
// decode spoils no other.
func openSource[In any](c *wire.Codec[In], j *Job) (s source[In], err error) {
	switch {
	case j.Format == Native:
		s.native = j.In.([]In)
	case j.Spread != nil:
		s.spread, s.decode = j.Spread, c.Decode
		if j.Format == JSON {
			s.decode = c.DecodeJSON
		}
	case j.Format == Packed && c.Fixed():
		s.native, err = c.ViewFixed(j.Items, j.Count)
	case j.Format == Packed:
		s.decode = c.Decode
		s.column, err = wire.OpenColumn(j.Items, j.Count, c.Aligned())
	default:
		s.decode = c.DecodeJSON
		s.column, err = wire.OpenColumn(j.Items, j.Count, false)
	}
	return s, err
}

// next returns the next item, or why it is none.
func (s *source[In]) next() (v In, e *wire.ItemError) {
	if s.decode == nil {
		v = s.native[s.at]
		s.at++
		return v, nil
	}
	return s.decodeNext()
}

func (s *source[In]) decodeNext() (v In, e *wire.ItemError) {
	defer recoverItem("decoding the item", &e) // a type's own UnmarshalJSON may panic
	v, err := s.decode(s.value())
	if err != nil {
		return v, decodeError(err)
	}
	return v, nil
}

// value returns the bytes of the next item.
func (s *source[In]) value() []byte {
	if s.spread == nil {
		return s.column.Next()
	}
	v := s.spread[0]
	s.spread = s.spread[1:]
	return v
}

// sink takes the results of a job in order.
type sink[Out any] struct {
	native []Out // the caller's, for Go values; the results since the last take, for fixed kinds
	column wire.ColumnWriter
	codec  *wire.Codec[Out]
	encode func([]byte, Out) ([]byte, error)
	fill   int // results put into native
	format Format
	room   []byte // the job's
	at     int    // of the room: what lies before has been taken
	inRoom bool   // native lies in the room
}

func (s *sink[Out]) open(c *wire.Codec[Out], j *Job) {
	s.codec, s.format, s.room = c, j.Format, j.Room
	switch {
	case j.Format == Native:
		s.native = j.Out.([]Out)
	case j.Format == Packed && c.Fixed():
		if s.native, s.inRoom = c.RoomFixed(j.Room, j.Count); !s.inRoom {
			s.native = make([]Out, j.Count)
		}
	case j.Format == Packed:
		s.encode = c.Append
		s.reset(j.Count)
	default:
		s.encode = c.AppendJSON
		s.reset(j.Count)
	}
}

// reset begins the next column, of at most so many values, in what is left of the room.
func (s *sink[Out]) reset(most int) {
	s.column.ResetIn(s.format == Packed && s.codec.Aligned(), s.room[min(s.at, len(s.room)):], most)
}

// put adds a result, or says why it cannot travel.
func (s *sink[Out]) put(v Out, limit int) *wire.ItemError {
	if s.encode == nil {
		s.native[s.fill] = v
		s.fill++
		return nil
	}
	return s.encodeNext(v, limit)
}

func (s *sink[Out]) encodeNext(v Out, limit int) (e *wire.ItemError) {
	defer recoverItem("encoding the result", &e)
	empty := s.column.Begin()
	data, err := s.encode(empty, v)
	switch size := len(data) - len(empty); {
	case err != nil:
		return &wire.ItemError{Kind: wire.Failed, Message: "result: " + err.Error()}
	case s.codec.Unchecked() && !wire.ValidText(data[len(empty):]):
		return &wire.ItemError{Kind: wire.Failed, Message: fmt.Sprintf("result: not a JSON text: %.60q", data[len(empty):])}
	case limit > 0 && size > limit:
		return &wire.ItemError{Kind: wire.Oversize, Size: int64(size), Message: fmt.Sprintf("result is %d bytes, the limit is %d", size, limit)}
	}
	s.column.End(data)
	return nil
}

// zero adds the place of an item that has no result.
func (s *sink[Out]) zero() {
	if s.encode == nil {
		s.native[s.fill] = *new(Out)
		s.fill++
		return
	}
	s.column.Empty()
}

// size is the number of bytes that take would return; 0 when the results stay where they are.
func (s *sink[Out]) size() int {
	if s.encode == nil {
		return 0
	}
	return s.column.Size()
}

// take returns the results since the last take as one column: nil for Go values, or its place in the room if it lies there. At
// most so many results are to come.
func (s *sink[Out]) take(most int) (column []byte, at, used int) {
	switch {
	case s.format == Native:
		return nil, 0, 0
	case s.inRoom:
		at, used = s.at, s.fill*s.codec.Width()
		s.at += used
		s.native, s.fill = s.native[s.fill:], 0
		return nil, at, used
	case s.encode == nil:
		column = s.codec.AppendFixed(nil, s.native[:s.fill])
		s.native, s.fill = s.native[s.fill:], 0
		return column, 0, 0
	}
	column = s.column.Bytes()
	if from, size, ok := s.column.InRoom(); ok {
		column, at, used = nil, s.at+from, size
		s.at = (at + used + 7) &^ 7
	}
	s.reset(most)
	return column, at, used
}

// recoverItem turns a panic into an item's error.
func recoverItem(doing string, e **wire.ItemError) {
	if p := recover(); p != nil {
		*e = &wire.ItemError{Kind: wire.Panicked, Message: fmt.Sprintf("%s: %v", doing, p), Stack: string(debug.Stack())}
	}
}
