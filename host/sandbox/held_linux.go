package sandbox

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/parhost/parhost/internal/plain"
)

// held is the open file of an executable that runs without walls. The descriptor keeps the file, even if its name later leads to another file.
// Workers are executed by the name while it leads to this file, so that ps(1) shows the usual name, and by the descriptor afterwards.
//
// The kernel refuses writes to a file that is being executed (ETXTBSY), except on Linux 6.11 and 6.12. A write while no worker runs shows in the
// file's size and times. If these are not conclusive, the SHA-256 decides.
type held struct {
	path string
	file *os.File // opened with O_PATH, because an executable need not be readable

	mu    sync.Mutex
	mark  mark
	sum   string // SHA-256 of the bytes that were opened; empty until it is known
	moved bool   // the name has led to another file at least once

	over     chan struct{} // closed when the checksum is not needed any more
	learning sync.WaitGroup
}

// learnAfter is how long a box waits before it computes the checksum of its file. Hashing takes 20 ms of CPU time for 20 MB, and short runs save
// that.
const learnAfter = 250 * time.Millisecond

// holdFile opens the file of an executable. source is the name by which it is opened; path is used in errors.
func holdFile(path, source string) (*held, error) {
	if info, err := os.Stat(source); err == nil && !info.Mode().IsRegular() {
		return nil, &plain.KindError{Path: path, Mode: info.Mode()}
	}
	fd, err := unix.Open(source, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	h := &held{path: path, file: os.NewFile(uintptr(fd), path), over: make(chan struct{})}
	info, err := h.file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &plain.KindError{Path: path, Mode: info.Mode()}
	}
	if err == nil {
		h.mark, err = markOf(fd)
	}
	if err != nil {
		return nil, errors.Join(err, h.file.Close())
	}
	return h, nil
}

// learn computes the checksum in the background once the pool has lived for learnAfter.
func (h *held) learn() {
	h.learning.Go(func() {
		select {
		case <-time.After(learnAfter):
			_, _ = h.checksum()
		case <-h.over:
		}
	})
}

// leads reports whether the name has led to the file at every check so far.
func (h *held) leads() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	dev, ino, err := identity(h.path)
	h.moved = h.moved || err != nil || dev != h.mark.dev || ino != h.mark.ino
	return !h.moved
}

// ran checks a process that has just been started. It returns an error if the process may execute other bytes than those that were opened, and a
// [*ChangedError] if the file itself has changed. If only the name leads to another file now, later starts use the descriptor.
func (h *held) ran(pid int, byName bool) error {
	if byName && !h.leads() {
		dev, ino, err := identity("/proc/" + strconv.Itoa(pid) + "/exe")
		if err != nil || dev != h.mark.dev || ino != h.mark.ino {
			return fmt.Errorf("another file took the name %q just when it was to be executed", h.path)
		}
	}
	return h.recheck()
}

// recheck returns a [*ChangedError] if the file has been written to since it was opened.
func (h *held) recheck() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	now, err := markOf(int(h.file.Fd()))
	if err != nil {
		return err
	}
	if now == h.mark {
		return nil
	}
	same := now.bytes() == h.mark.bytes() // only ctime differs: the file was renamed, removed or linked, or its mtime was set back after a write
	if !same && h.sum == "" {
		return &ChangedError{h.path, fmt.Errorf("it had %d bytes, last written %v, and has %d, last written %v", h.mark.size, h.mark.time(), now.size, now.time())}
	}
	sum, err := h.read()
	switch {
	case errors.Is(err, unix.EACCES) && same: // the file may be executed but not read
	case err != nil:
		return &ChangedError{h.path, err}
	case h.sum == "":
		h.sum = sum
	case sum != h.sum:
		return &ChangedError{h.path, otherBytes(h.sum, sum)}
	}
	h.mark = now
	return nil
}

// checksum returns the SHA-256 of the bytes that were opened. It returns a [*ChangedError] if the file has changed since.
func (h *held) checksum() (string, error) {
	if err := h.recheck(); err != nil {
		return "", err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.sum != "" {
		return h.sum, nil
	}
	sum, err := h.read()
	if err != nil {
		return "", err
	}
	if now, err := markOf(int(h.file.Fd())); err != nil || now.bytes() != h.mark.bytes() {
		return "", &ChangedError{h.path, errors.Join(errors.New("it is being written to"), err)}
	}
	h.sum = sum
	return sum, nil
}

// read hashes the file as it is now, and stops early once over is closed. The caller holds mu.
func (h *held) read() (string, error) {
	f, err := plain.Open(descriptor(h.file)) // opened again, because a layered file system may have put another file below a descriptor
	if err != nil {
		return "", err
	}
	defer f.Close()
	sum := sha256.New()
	_, err = plain.Copy(until{sum, h.over}, f, maxProgram)
	return hex.EncodeToString(sum.Sum(nil)), err
}

func (h *held) close() error {
	close(h.over)
	h.learning.Wait()
	return h.file.Close()
}

// mark holds the attributes of a file that change when the file changes.
type mark struct {
	dev, ino         uint64
	size             int64
	written, changed unix.Timespec // mtime: when the content changed; ctime: when anything of the inode changed
}

func markOf(fd int) (mark, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return mark{}, os.NewSyscallError("fstat", err)
	}
	return mark{st.Dev, st.Ino, st.Size, st.Mtim, st.Ctim}, nil
}

// bytes returns the mark without ctime, which can change while the content stays the same.
func (m mark) bytes() mark {
	m.changed = unix.Timespec{}
	return m
}

func (m mark) time() time.Time { return time.Unix(m.written.Unix()) }
