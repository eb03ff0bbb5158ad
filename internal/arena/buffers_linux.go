package arena

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Buffers are the memory, mapped: to write in the host that made them, to read in its workers.
type Buffers struct {
	mem []byte
}

// readOnly keeps everybody from writing but through a mapping that was there before the seal: the host's. However the file is opened
// again, that holds (Linux 5.1; fcntl(2)). It also keeps the host from punching holes, so that what was once touched goes back to
// the system with the file alone (mm/shmem.c, shmem_fallocate).
const readOnly = seals | unix.F_SEAL_FUTURE_WRITE

// NewBuffers makes buffers of size bytes, a multiple of the page size, and returns them with the file that workers map. Memory is
// taken when it is touched, not before.
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

// MapBuffers maps the buffers behind a file descriptor, which may be closed afterwards. They can only be read: whoever writes there
// is sent SIGSEGV.
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
	// A process that dumps core would write all buffers of its pool to the disk.
	if err := unix.Madvise(b.mem, unix.MADV_DONTDUMP); err != nil {
		return nil, errors.Join(fmt.Errorf("madvise: %w", err), b.unmap(0))
	}
	return b, nil
}

// Close lets go of the memory, but not of the first used bytes of address space: whoever still reads or writes there, against all
// rules, finds zeros and no fault. It is called once.
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

// unmap unmaps all but the first bytes.
func (b *Buffers) unmap(from int) error {
	if from >= len(b.mem) {
		return nil
	}
	return unix.MunmapPtr(unsafe.Pointer(unsafe.SliceData(b.mem[from:])), uintptr(len(b.mem)-from))
}
