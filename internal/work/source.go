package work

import (
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/parhost/parhost/internal/wire"
	"github.com/parhost/parhost/protocol"
)

// source returns the items of a job in order.
type source[In any] struct {
	native []In // set for Go values and for fixed kinds
	at     int  // index in native of the next item
	column wire.Column
	texts  [][]byte // the items one by one, used instead of column
	decode func([]byte) (In, error)
}

// openSource prepares the items of j. Fixed kinds are read in place. Other kinds are decoded one by one, so that an item that does not decode
// affects no other.
func openSource[In any](c *wire.Codec[In], j *Job) (s source[In], err error) {
	switch {
	case j.Format == Native && c.Unchecked():
		s.texts, s.decode = texts(j.In.([]In)), c.Decode
	case j.Format == Native:
		s.native = j.In.([]In)
	case j.InBuffers != nil:
		s.texts, s.decode = j.InBuffers, c.Decode
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

// texts returns the bytes of items that are JSON texts themselves. In goroutine mode they are checked by the same rules as in process mode.
func texts[In any](items []In) [][]byte {
	raw := make([][]byte, len(items))
	for i, text := range any(items).([]json.RawMessage) {
		if raw[i] = text; text == nil {
			raw[i] = []byte("null") // as in process mode
		}
	}
	return raw
}

// next returns the next item, or an error if it does not decode.
func (s *source[In]) next() (v In, e *protocol.ItemError) {
	if s.decode == nil {
		v = s.native[s.at]
		s.at++
		return v, nil
	}
	return s.decodeNext()
}

func (s *source[In]) decodeNext() (v In, e *protocol.ItemError) {
	defer recoverItem("decoding the item", &e) // a type's own UnmarshalJSON may panic
	v, err := s.decode(s.value())
	if err != nil {
		return v, decodeError(err)
	}
	return v, nil
}

// value returns the bytes of the next item.
func (s *source[In]) value() []byte {
	if s.texts == nil {
		return s.column.Next()
	}
	v := s.texts[0]
	s.texts = s.texts[1:]
	return v
}

// sink collects the results of a job in order.
type sink[Out any] struct {
	native []Out // for Go values: the caller's slice; for fixed kinds: the results since the last take
	column wire.ColumnWriter
	codec  *wire.Codec[Out]
	encode func([]byte, Out) ([]byte, error)
	fill   int // number of results in native
	format Format
	loose  bool   // results are JSON texts that must be checked
	room   []byte // the job's room
	at     int    // offset in room: memory before it has been taken
	inRoom bool   // native lies in room
}

func (s *sink[Out]) open(c *wire.Codec[Out], j *Job) {
	s.codec, s.format, s.room = c, j.Format, j.Room
	s.loose = c.Loose() && (c.Kind == wire.KindJSON || j.Format == JSON) && (c.Unchecked() || j.Format != Native)
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

// reset begins the next column, in the rest of the room. most is the largest number of values that it may get.
func (s *sink[Out]) reset(most int) {
	s.column.ResetIn(s.format == Packed && s.codec.Aligned(), s.room[min(s.at, len(s.room)):], most)
}

// put adds a result. It returns an error if the result cannot be sent.
func (s *sink[Out]) put(v Out, limit int) *protocol.ItemError {
	switch {
	case s.encode != nil:
		return s.encodeNext(v, limit)
	case s.loose:
		text, e := s.checked(v)
		if e != nil {
			return e
		}
		v = text
	}
	s.native[s.fill] = v
	s.fill++
	return nil
}

// checked returns a result that is itself a JSON text in the form in which it would be sent, or an error if it cannot be sent.
func (s *sink[Out]) checked(v Out) (Out, *protocol.ItemError) {
	text, err := s.codec.Append(nil, v)
	if err != nil {
		return v, &protocol.ItemError{Kind: protocol.KindFailed, Message: "result: " + err.Error()}
	}
	if e := checkResult(text); e != nil {
		return v, e
	}
	v, err = s.codec.Decode(text)
	if err != nil {
		return v, &protocol.ItemError{Kind: protocol.KindFailed, Message: "result: " + err.Error()}
	}
	return v, nil
}

// checkResult returns an error if a text is not a valid result.
func checkResult(text []byte) *protocol.ItemError {
	if wire.ValidText(text) {
		return nil
	}
	e, ok := errors.AsType[*wire.TextError](wire.CheckText(text))
	switch {
	case !ok:
		return &protocol.ItemError{Kind: protocol.KindFailed, Message: fmt.Sprintf("result: not a JSON text on one line: %.60q", text)}
	case e.Refused:
		return &protocol.ItemError{Kind: protocol.KindFailed, Message: fmt.Sprintf("result: %s (byte %d)", e.Message, e.Offset)}
	default:
		return &protocol.ItemError{Kind: protocol.KindFailed, Message: fmt.Sprintf("result: not a JSON text: %.60q: %s (byte %d)", text, e.Message, e.Offset)}
	}
}

func (s *sink[Out]) encodeNext(v Out, limit int) (e *protocol.ItemError) {
	defer recoverItem("encoding the result", &e)
	empty := s.column.Begin()
	data, err := s.encode(empty, v)
	switch size := len(data) - len(empty); {
	case err != nil:
		return &protocol.ItemError{Kind: protocol.KindFailed, Message: "result: " + err.Error()}
	case limit > 0 && size > limit:
		return &protocol.ItemError{Kind: protocol.KindOversize, Size: int64(size), Message: fmt.Sprintf("result is %d bytes, the limit is %d", size, limit)}
	}
	if s.loose {
		if e := checkResult(data[len(empty):]); e != nil {
			return e
		}
	}
	s.column.End(data)
	return nil
}

// zero adds an empty value in the place of an item that has no result.
func (s *sink[Out]) zero() {
	if s.encode == nil {
		s.native[s.fill] = *new(Out)
		s.fill++
		return
	}
	s.column.Empty()
}

// size returns the bytes of the column that take would return. It is 0 if the results stay in native.
func (s *sink[Out]) size() int {
	if s.encode == nil {
		return 0
	}
	return s.column.Size()
}

// take returns the results since the last take as one column. The column is nil for Go values. It is also nil if the results lie in the room: then
// at and used give their place. most is the largest number of results that are still to come.
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

// recoverItem recovers from a panic, and stores it as an item's error.
func recoverItem(doing string, e **protocol.ItemError) {
	if p := recover(); p != nil {
		*e = &protocol.ItemError{Kind: protocol.KindPanicked, Message: fmt.Sprintf("%s: %v", doing, p), Stack: string(debug.Stack())}
	}
}
