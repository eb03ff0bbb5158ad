package attempt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Lure is a FUSE file system that tests mount where other code may walk into it. It refuses and counts all requests, so no process blocks.
type Lure struct {
	root   *os.File // finds the mount point, even after it has been moved
	device *os.File
	asked  atomic.Int64
}

// SetLure mounts a lure over a file or folder. The process needs the right to mount.
func SetLure(target string) (*Lure, error) {
	info, err := os.Lstat(target)
	if err != nil {
		return nil, err
	}
	device, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: "/dev/fuse", Err: err}
	}
	mode := unix.S_IFREG
	if info.IsDir() {
		mode = unix.S_IFDIR
	}
	l := &Lure{device: os.NewFile(uintptr(device), "/dev/fuse")}
	options := fmt.Sprintf("fd=%d,rootmode=%o,user_id=%d,group_id=%d", device, mode, os.Geteuid(), os.Getegid())
	if err := unix.Mount("parhost", target, "fuse", unix.MS_NOSUID|unix.MS_NODEV, options); err != nil {
		return nil, errors.Join(os.NewSyscallError("mount", err), l.device.Close())
	}
	go l.serve(device)
	root, err := unix.Open(target, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, errors.Join(&os.PathError{Op: "open", Path: target, Err: err}, unix.Unmount(target, unix.MNT_DETACH), l.device.Close())
	}
	l.root = os.NewFile(uintptr(root), target)
	return l, nil
}

// serve answers requests until the file system is unmounted (linux/fuse.h).
func (l *Lure) serve(device int) {
	const (
		headBytes = 16
		forget    = 2
		opInit    = 26
	)
	le := binary.LittleEndian
	request := make([]byte, 1<<20)
	for {
		n, err := unix.Read(device, request)
		if errors.Is(err, unix.EINTR) || errors.Is(err, unix.ENOENT) {
			continue
		}
		if err != nil || n < 40 {
			return
		}
		answer := make([]byte, headBytes)
		switch le.Uint32(request[4:]) {
		case forget:
			continue
		case opInit:
			answer = make([]byte, headBytes+64)
			le.PutUint32(answer[headBytes:], 7)
			le.PutUint32(answer[headBytes+4:], 31)
			le.PutUint32(answer[headBytes+20:], 4096)
		default:
			l.asked.Add(1)
			refused := -int32(unix.EIO)
			le.PutUint32(answer[4:], uint32(refused))
		}
		le.PutUint32(answer, uint32(len(answer)))
		copy(answer[8:], request[8:16]) // the id of the request
		_, _ = unix.Write(device, answer)
	}
}

// Asked returns how many requests the file system has received.
func (l *Lure) Asked() int { return int(l.asked.Load()) }

// Remove unmounts the file system.
func (l *Lure) Remove() error {
	err := unix.Unmount(fmt.Sprintf("/proc/self/fd/%d", l.root.Fd()), unix.MNT_DETACH)
	return errors.Join(os.NewSyscallError("umount", err), l.root.Close(), l.device.Close())
}
