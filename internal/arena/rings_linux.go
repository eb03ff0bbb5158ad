package arena

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// NewRings makes size bytes of memory for ring buffers, and returns them with the file that a worker maps. The caller unmaps the memory with munmap(2).
func NewRings(size int) ([]byte, *os.File, error) {
	f, err := create("parhost-rings", size)
	if err != nil {
		return nil, nil, err
	}
	if err := seal(f, seals); err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	mem, err := MapRings(int(f.Fd()), size)
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return mem, f, nil
}

// MapRings maps the first size bytes of the memory behind a file descriptor, which may be closed afterwards. It returns an error if the memory is smaller.
func MapRings(fd, size int) ([]byte, error) {
	if _, err := sealedSize(fd, seals, size); err != nil {
		return nil, err
	}
	mem, err := unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map %d bytes: %w", size, err)
	}
	return mem, nil
}
