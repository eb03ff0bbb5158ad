package arena

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Arena is the memory, mapped.
type Arena struct {
	mem []byte
}

// seals make the arena's size final: a worker that cut it would make the host's next access a bus error.
const seals = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_SEAL

// New makes an arena of size bytes, a multiple of the page size, and returns it with the file that a worker maps. Memory is taken
// when it is touched, not before.
func New(size int) (*Arena, *os.File, error) {
	fd, err := unix.MemfdCreate("parhost-arena", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, nil, fmt.Errorf("memfd_create: %w", err)
	}
	f := os.NewFile(uintptr(fd), "arena")
	if err := f.Truncate(int64(size)); err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("seal: %w", err), f.Close())
	}
	a, err := Map(fd)
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return a, f, nil
}

// Map maps the arena behind a file descriptor, which may be closed afterwards.
func Map(fd int) (*Arena, error) {
	got, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0)
	if err != nil || got&seals != seals {
		return nil, fmt.Errorf("file descriptor %d is no sealed memory (seals %#x, %w)", fd, got, err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, err
	}
	if st.Size < DataOffset || st.Size > 1<<40 {
		return nil, fmt.Errorf("arena of %d bytes", st.Size)
	}
	mem, err := unix.Mmap(fd, 0, int(st.Size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map %d bytes: %w", st.Size, err)
	}
	return &Arena{mem: mem}, nil
}

// Close unmaps the arena. Nothing that lies in it may be used any more.
func (a *Arena) Close() error { return unix.Munmap(a.mem) }

// Release gives the memory of a range back to the system; it reads as zeros then.
func (a *Arena) Release(f *os.File, from int) error {
	return unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, int64(from), int64(len(a.mem)-from))
}
