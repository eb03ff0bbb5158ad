package conform

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/parhost/parhost/internal/wire"
	"github.com/parhost/parhost/protocol"
)

// Buffers is memory that a host shares with a worker and puts items in. It is a part of its pool's buffers.
type Buffers struct {
	Memory []byte
	Offset uint64 // where Memory begins in the file that the worker has mapped
}

// buffers sends items that lie in the pool's buffers, and one whose place lies outside them.
func buffers(ctx context.Context, t *trial) (string, error) {
	s, err := t.own(ctx, 1, 0)
	if err == nil && s.worker.Buffers == nil { // a host may give them to every other worker only, to see how workers do without
		s, err = t.own(ctx, 1, 0)
	}
	if err != nil {
		return "", err
	}
	switch given := s.worker.Buffers != nil; {
	case s.buffers && !given:
		return "", errors.New("the worker says that it has mapped the pool's buffers, and was not given any")
	case !given:
		return "", skip("there are none here")
	case !s.buffers:
		return "", skip("the worker does not look at them: its items are brought to it")
	}
	items, err := t.some(aim, manyMost)
	if err != nil {
		return "", err
	}
	values := make([][]byte, len(items))
	for i := range items {
		values[i] = items[i].text
	}
	o := s.worker.Buffers.lay(values, 1)
	if o.Count == 0 {
		return "", skip("an item of %d bytes finds no room in %d", len(values[0]), len(s.worker.Buffers.Memory))
	}
	o.JSON = true
	items = items[:o.Count]
	b, err := s.Run(o, t.limit(o.Count))
	if err == nil {
		err = t.complete(b, items)
	}
	if err != nil {
		return "", fmt.Errorf("JSON texts in buffers: %w", err)
	}
	if err := packedInBuffers(t, s); err != nil {
		return "", err
	}
	if err := beyondBuffers(t, s); err != nil {
		return "", err
	}
	return wire.Count(o.Count, "item") + " run where they lie; places that are none are refused", nil
}

// lay copies values into the memory, the first one at its end, each at a multiple of align. It returns a batch of the values that fit.
func (m *Buffers) lay(values [][]byte, align int) Order {
	var o Order
	end := len(m.Memory)
	for _, v := range values {
		if len(v) > end {
			break
		}
		at := (end - len(v)) / align * align
		copy(m.Memory[at:], v)
		end = at
		o.At, o.Size = append(o.At, m.Offset+uint64(at)), append(o.Size, uint64(len(v)))
		o.Count++
	}
	return o
}

// packedInBuffers sends packed values in the buffers, as a Go host would build them there.
func packedInBuffers(t *trial, s *Stream) error {
	in, known := codecs()[t.manifest.GetItemKind()]
	if _, knownToo := codecs()[t.manifest.GetResultKind()]; !known || !knownToo {
		return nil
	}
	values := make([][]byte, len(t.items))
	for i := range t.items {
		var err error
		if values[i], err = in.value(t.items[i].text); err != nil {
			return err
		}
	}
	o := s.worker.Buffers.lay(values, 8)
	if o.Count == 0 {
		return nil // packed values may be larger than their JSON texts
	}
	b, err := s.Run(o, t.limit(o.Count))
	if err == nil {
		err = t.comparePacked(b, t.items[:o.Count])
	}
	if err != nil {
		return fmt.Errorf("%s in buffers: %w", t.manifest.GetItemKind(), err)
	}
	return nil
}

// beyondBuffers sends a place outside the buffers. The worker must refuse it, by ending the stream or with a bad item.
func beyondBuffers(t *trial, s *Stream) error {
	b, err := s.Run(Order{Count: 1, JSON: true, At: []uint64{1<<64 - 8}, Size: []uint64{16}}, t.limit(1))
	switch {
	case err != nil && (strings.Contains(err.Error(), "SIGSEGV") || strings.Contains(err.Error(), "SIGBUS")): // the worker has read at that place
		return fmt.Errorf("an item behind the end of the buffers: %w", err)
	case err == nil && (b.Errors[0] == nil || b.Errors[0].Kind != protocol.KindBadItem):
		return errors.New("an item behind the end of the buffers is not refused")
	}
	return nil
}
