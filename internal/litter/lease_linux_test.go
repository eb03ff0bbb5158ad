package litter

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// lease makes any process that opens the file wait as long as the kernel allows: 45 s.
func lease(t *testing.T, f *os.File) {
	t.Helper()
	if _, err := unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_WRLCK); err != nil {
		t.Fatal(err)
	}
}
