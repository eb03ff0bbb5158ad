package arena

import (
	"errors"
	"fmt"
	"math"
	"os"

	"golang.org/x/sys/unix"
)

// Arena is memory that a host shares with one worker, mapped into this process.
type Arena struct {
	mem []byte
}

// seals make the size of the memory final. If a worker could shrink it, the host's next access would fail with SIGBUS.
const seals = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_SEAL

// New makes an arena of size bytes, a multiple of the page size, and returns it with the file that a worker maps. The kernel allocates a page when
// it is first touched.
func New(size int) (*Arena, *os.File, error) {
	f, err := create("parhost-arena", size)
	if err != nil {
		return nil, nil, err
	}
	if err := seal(f, seals); err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	a, err := Map(int(f.Fd()))
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return a, f, nil
}

// create makes an anonymous file of size bytes in memory.
func create(name string, size int) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|unix.MFD_NOEXEC_SEAL)
	if errors.Is(err, unix.EINVAL) { // MFD_NOEXEC_SEAL came with Linux 6.3, which logs a warning for callers that do not set it
		fd, err = unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	}
	if err != nil {
		return nil, fmt.Errorf("memfd_create: %w", err)
	}
	f := os.NewFile(uintptr(fd), name)
	if err := f.Truncate(int64(size)); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func seal(f *os.File, seals int) error {
	if _, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, seals); err != nil {
		return fmt.Errorf("seal: %w", err)
	}
	return nil
}

// maxBytes is an upper bound for the size of shared memory, far above any real use.
const maxBytes = min(1<<40, math.MaxInt)

// sealedSize returns the size of the memory behind a file descriptor. It returns an error if that is less than least, or if a seal is missing.
func sealedSize(fd, seals, least int) (int, error) {
	got, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0)
	if err != nil {
		return 0, fmt.Errorf("file descriptor %d is no sealed memory: %w", fd, err)
	}
	if got&seals != seals {
		return 0, fmt.Errorf("file descriptor %d has the seals %#x, want %#x", fd, got, seals)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return 0, err
	}
	if st.Size < int64(least) || st.Size > maxBytes {
		return 0, fmt.Errorf("shared memory of %d bytes, want %d to %d", st.Size, least, int64(maxBytes))
	}
	return int(st.Size), nil
}

// AddressSpace returns how many bytes this process may map (RLIMIT_AS, ulimit -v), or 0 if there is no limit. Workers inherit the limit.
func AddressSpace() int64 {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_AS, &limit) != nil || limit.Cur > math.MaxInt64 { // RLIM_INFINITY is larger than MaxInt64
		return 0
	}
	return int64(limit.Cur)
}

// Map maps the arena behind a file descriptor, which may be closed afterwards.
func Map(fd int) (*Arena, error) {
	size, err := sealedSize(fd, seals, DataOffset)
	if err != nil {
		return nil, err
	}
	mem, err := unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map %d bytes: %w", size, err)
	}
	return &Arena{mem: mem}, nil
}

// Close unmaps the arena. Memory of the arena must not be used any more.
func (a *Arena) Close() error { return unix.Munmap(a.mem) }

// releaseBytes is how much one system call of Release gives back. The call cannot be interrupted, and visits each mapping of the pages: a worker
// may map them up to 65530 times (/proc/sys/vm/max_map_count), which takes 0.7 s for 64 KiB and minutes for 64 MiB. For the host of an honest
// worker, smaller calls take no longer: 64 MiB take 20 to 80 ms, however they are divided.
const releaseBytes = 64 << 10

// Release gives the memory between two offsets back to the system; it reads as zeros afterwards. to is rounded up to a multiple of releaseBytes.
// Release works backwards from to, in small steps, while more returns true, and returns the offset that it has reached. An error means that nothing
// more can be given back.
func (a *Arena) Release(f *os.File, from, to int, more func() bool) (int, error) {
	to = min((to+releaseBytes-1)/releaseBytes*releaseBytes, len(a.mem)) // only whole pages can be given back
	for to > from && more() {
		step := min(releaseBytes, to-from)
		if err := unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, int64(to-step), int64(step)); err != nil {
			return to, fmt.Errorf("punch a hole: %w", err)
		}
		to -= step
	}
	return to, nil
}
