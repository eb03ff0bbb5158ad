package arena

import "fmt"

// Bytes returns n bytes from an offset on, or an error if they are not all among the slots.
func (a *Arena) Bytes(offset, n uint64) ([]byte, error) {
	if a == nil {
		return nil, fmt.Errorf("%d bytes at %d: there is no arena", n, offset)
	}
	if size := uint64(len(a.mem)); offset < DataOffset || offset > size || n > size-offset {
		return nil, fmt.Errorf("%d bytes at %d are not in an arena of %d bytes", n, offset, len(a.mem))
	}
	return a.mem[offset : offset+n : offset+n], nil
}

// Slot returns the memory of a slot.
func (a *Arena) Slot(s Slot) []byte { return a.mem[s.Offset : s.Offset+s.Size : s.Offset+s.Size] }
