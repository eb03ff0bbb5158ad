package rss_test

import (
	"bytes"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/parhost/parhost/internal/rss"
)

func TestOwnMemory(t *testing.T) {
	const private, shared = 64 << 20, 32 << 20
	kept := bytes.Repeat([]byte{1}, private)
	mapped, err := unix.Mmap(-1, 0, shared, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANON)
	if err != nil {
		t.Fatal(err)
	}
	copy(mapped, kept)
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	if len(status) > rss.StatusBytes {
		t.Errorf("the status has %d bytes, want at most %d", len(status), rss.StatusBytes)
	}
	m, err := rss.Parse(status)
	if err != nil || m.Anonymous+m.Swapped < private || m.Shared < shared || m.Resident < m.Anonymous+m.Shared {
		t.Errorf("got %+v and %v, want %d bytes of its own and %d shared", m, err, private, shared)
	}
	if mapped[0] != kept[0] { // both are there until now
		t.Error("the memory has changed")
	}
	if err := unix.Munmap(mapped); err != nil {
		t.Error(err)
	}
}

func TestParse(t *testing.T) {
	if m, err := rss.Parse([]byte("Name:\tx\nState:\tZ (zombie)\n")); m != (rss.Memory{}) || err != nil {
		t.Errorf("one that has ended: got %+v and %v, want no memory", m, err)
	}
	if _, err := rss.Parse([]byte("VmRSS:\tmuch kB\n")); err == nil {
		t.Error("got no error for what is no number")
	}
}
