package arena

import (
	"fmt"
	"unsafe"
)

// Bytes returns n bytes from offset on. It returns an error unless all of them lie in the part of the arena that holds slots.
func (a *Arena) Bytes(offset, n uint64) ([]byte, error) {
	if a == nil {
		return nil, fmt.Errorf("%d bytes at %d: there is no arena", n, offset)
	}
	return cut(a.mem, offset, n)
}

// Slot returns the memory of a slot.
func (a *Arena) Slot(s Slot) []byte { return slot(a.mem, s) }

// Bytes returns n bytes from offset on. It returns an error unless all of them lie in the part of the buffers that holds slots.
func (b *Buffers) Bytes(offset, n uint64) ([]byte, error) {
	if b == nil {
		return nil, fmt.Errorf("%d bytes at %d: there are no buffers", n, offset)
	}
	return cut(b.mem, offset, n)
}

// Slot returns the memory of a slot.
func (b *Buffers) Slot(s Slot) []byte { return slot(b.mem, s) }

// Find returns the offset of bytes in the buffers. ok is false if they do not lie there completely.
func (b *Buffers) Find(bytes []byte) (offset uint64, ok bool) {
	if b == nil || len(bytes) == 0 || !b.Hold(uintptr(unsafe.Pointer(unsafe.SliceData(bytes)))) {
		return 0, false
	}
	at := uintptr(unsafe.Pointer(unsafe.SliceData(bytes))) - b.base()
	return uint64(at), len(bytes) <= len(b.mem)-int(at)
}

// Hold reports whether an address lies in the buffers.
func (b *Buffers) Hold(address uintptr) bool {
	return b != nil && address-b.base() < uintptr(len(b.mem)) // an address below base wraps around to a large difference
}

func (b *Buffers) base() uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(b.mem))) }

func cut(mem []byte, offset, n uint64) ([]byte, error) {
	if size := uint64(len(mem)); offset < DataOffset || offset > size || n > size-offset {
		return nil, fmt.Errorf("%d bytes at %d are not among the slots of %d bytes", n, offset, len(mem))
	}
	return mem[offset : offset+n : offset+n], nil
}

func slot(mem []byte, s Slot) []byte { return mem[s.Offset : s.Offset+s.Size : s.Offset+s.Size] }
