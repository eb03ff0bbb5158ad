package main

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// arena maps the first n numbers of descriptor 3.
func arena(n int) ([]float64, error) {
	memory, err := unix.Mmap(3, 0, 8*n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		return nil, err
	}
	return unsafe.Slice((*float64)(unsafe.Pointer(&memory[0])), n), nil
}
