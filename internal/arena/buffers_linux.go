package arena

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Buffers is memory that a host shares with all workers of a pool, mapped into this process: writable in the host that made it, read-only in workers.
type Buffers struct {
	mem []byte
}

// readOnly prevents all writes except through a mapping that existed before the seal, which only the host has. This holds however the file is
// opened again (Linux 5.1; fcntl(2)). It also prevents the host from punching holes, so touched pages are freed only with the file (mm/shmem.c,
// shmem_fallocate).
const readOnly = seals | unix.F_SEAL_FUTURE_WRITE

// NewBuffers makes buffers of size bytes, a multiple of the page size, and returns them with the file that workers map. The kernel allocates a page
// when it is first touched.
func NewBuffers(size int) (*Buffers, *os.File, error) {
	f, err := create("parhost-buffers", size)
	if err != nil {
		return nil, nil, err
	}
	b, err := mapBuffers(int(f.Fd()), size, unix.PROT_READ|unix.PROT_WRITE)
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	if err := seal(f, readOnly); err != nil {
		return nil, nil, errors.Join(err, b.unmap(0), f.Close())
	}
	return b, f, nil
}

// MapBuffers maps the buffers behind a file descriptor, which may be closed afterwards. The memory is read-only: a write to it causes SIGSEGV.
func MapBuffers(fd int) (*Buffers, error) {
	size, err := sealedSize(fd, readOnly, DataOffset)
	if err != nil {
		return nil, err
	}
	return mapBuffers(fd, size, unix.PROT_READ)
}

func mapBuffers(fd, size, access int) (*Buffers, error) {
	p, err := unix.MmapPtr(fd, 0, nil, uintptr(size), access, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map %d bytes: %w", size, err)
	}
	b := &Buffers{mem: unsafe.Slice((*byte)(p), size)}
	// Otherwise the core dump of a process would contain all buffers of its pool.
	if err := unix.Madvise(b.mem, unix.MADV_DONTDUMP); err != nil {
		return nil, errors.Join(fmt.Errorf("madvise: %w", err), b.unmap(0))
	}
	return b, nil
}

// Close gives the memory back. It keeps the first used bytes of address space mapped: code that wrongly still reads or writes there finds zeros,
// and does not fault. Close must be called once.
func (b *Buffers) Close(used int) error {
	page := os.Getpagesize()
	used = (used + page - 1) / page * page
	if used > 0 {
		_, err := unix.MmapPtr(-1, 0, unsafe.Pointer(unsafe.SliceData(b.mem)), uintptr(used),
			unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE|unix.MAP_FIXED)
		if err != nil {
			return fmt.Errorf("map %d bytes of nothing: %w", used, err)
		}
	}
	return b.unmap(used)
}

// unmap unmaps everything except the first from bytes.
func (b *Buffers) unmap(from int) error {
	if from >= len(b.mem) {
		return nil
	}
	return unix.MunmapPtr(unsafe.Pointer(unsafe.SliceData(b.mem[from:])), uintptr(len(b.mem)-from))
}
