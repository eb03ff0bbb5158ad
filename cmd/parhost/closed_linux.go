package main

import (
	"os"

	"golang.org/x/sys/unix"
)

// wasClosed reports whether a standard stream was closed when this program started.
//
// Go's runtime opens /dev/null in place of such a stream, for reading and writing (runtime/fds_unix.go), with a separate open for each stream. Other
// ways to pass /dev/null differ: shells and supervisors open it for writing only, and daemon(3) gives all streams the same open file description.
func wasClosed(stream any) bool {
	f, ok := stream.(*os.File)
	if !ok || f.Fd() > 2 {
		return false
	}
	fd := int(f.Fd())
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil || stat.Mode&unix.S_IFMT != unix.S_IFCHR || stat.Rdev != unix.Mkdev(1, 3) {
		return false
	}
	if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0); err != nil || flags&unix.O_ACCMODE != unix.O_RDWR {
		return false
	}
	for other := range 3 {
		if other != fd && sameDescription(fd, other) {
			return false
		}
	}
	return true
}

// sameDescription reports whether two descriptors share one open file description. It also returns true if kcmp(2) is not available.
func sameDescription(a, b int) bool {
	const kcmpFile = 0 // KCMP_FILE of kcmp(2)
	pid := uintptr(os.Getpid())
	order, _, errno := unix.Syscall6(unix.SYS_KCMP, pid, pid, kcmpFile, uintptr(a), uintptr(b), 0)
	return errno != 0 || order == 0
}
