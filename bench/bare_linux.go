package main

import (
	"errors"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// bareMemory returns memory for n numbers, and a file that leads other processes to it. The memory stays mapped.
func bareMemory(n int) (*os.File, []float64, error) {
	fd, err := unix.MemfdCreate("bench", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, nil, err
	}
	file := os.NewFile(uintptr(fd), "bench")
	if err := file.Truncate(int64(8 * n)); err != nil {
		return nil, nil, errors.Join(err, file.Close())
	}
	memory, err := unix.Mmap(fd, 0, 8*n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		return nil, nil, errors.Join(err, file.Close())
	}
	return file, unsafe.Slice((*float64)(unsafe.Pointer(&memory[0])), n), nil
}
