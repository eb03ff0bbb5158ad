package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// strictSockets is where a strict plugin has its socket.
const strictSockets = "/run/plugin"

// scaffold is the folder on which the new root is built. It is there and can be entered wherever a launcher can be started by the
// name of /proc/self/exe, and no bind comes from it.
const scaffold = "/proc"

// What the file systems of a strict worker may hold. They are memory.
const (
	rootOptions    = "size=64k,nr_inodes=1024,mode=0755"
	socketsOptions = "size=16k,nr_inodes=32,mode=0700"
	tmpInodes      = 4096
)

// furnish makes the new namespaces a place of their own.
func (l *launcher) furnish() error {
	if !l.spec.Spaces {
		return nil
	}
	// Where the process is counted is its root from now on; before it was put there it would have been elsewhere.
	if err := unix.Unshare(unix.CLONE_NEWCGROUP); err != nil && !errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("cgroup namespace: %w", err)
	}
	if err := unix.Sethostname([]byte("sandbox")); err != nil {
		return fmt.Errorf("sethostname: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	const guarded = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	if err := unix.Mount("root", scaffold, "tmpfs", guarded, rootOptions); err != nil {
		return fmt.Errorf("mount a root: %w", err)
	}
	for _, f := range []struct {
		name, options string
	}{
		{strictSockets, socketsOptions},
		{"/tmp", "size=" + strconv.FormatInt(l.spec.TmpBytes, 10) + ",nr_inodes=" + strconv.Itoa(tmpInodes) + ",mode=0700"},
	} {
		if err := os.MkdirAll(scaffold+f.name, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(path.Base(f.name), scaffold+f.name, "tmpfs", guarded, f.options); err != nil {
			return fmt.Errorf("mount %s: %w", f.name, err)
		}
	}
	binds := slices.Clone(l.spec.Binds)
	slices.SortStableFunc(binds, func(a, b mount) int { return len(a.Target) - len(b.Target) }) // what holds others comes first
	for _, d := range devices {
		if _, err := os.Stat(d); err == nil {
			binds = append(binds, mount{Source: d, Target: d, FD: -1, Write: true})
		}
	}
	for _, b := range binds {
		if err := attach(b); err != nil {
			return fmt.Errorf("bind %s: %w", b.Source, err)
		}
	}
	return l.moveIn()
}

// attach binds a file or folder into the new root.
func attach(b mount) error {
	fd := b.FD
	if fd < 0 {
		var err error
		if fd, err = unix.OpenTree(unix.AT_FDCWD, b.Source, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE); err != nil {
			return fmt.Errorf("open_tree: %w", err)
		}
	}
	defer closeFD(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	target := scaffold + b.Target
	if err := os.MkdirAll(path.Dir(target), 0o755); err != nil {
		return err
	}
	var err error
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		err = os.MkdirAll(target, 0o755)
	} else if _, exists := os.Lstat(target); exists != nil {
		err = os.WriteFile(target, nil, 0o600)
	}
	if err != nil {
		return err
	}
	if err := unix.MoveMount(fd, "", unix.AT_FDCWD, target, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("move_mount: %w", err)
	}
	// A bind of a device keeps it usable; a folder's devices are none of a plugin's business.
	set := uint64(unix.MOUNT_ATTR_NOSUID)
	if st.Mode&unix.S_IFMT != unix.S_IFCHR {
		set |= unix.MOUNT_ATTR_NODEV
	}
	if b.Write {
		set |= unix.MOUNT_ATTR_NOEXEC
	} else {
		set |= unix.MOUNT_ATTR_RDONLY
	}
	if err := unix.MountSetattr(unix.AT_FDCWD, target, unix.AT_RECURSIVE, &unix.MountAttr{Attr_set: set}); err != nil {
		return fmt.Errorf("mount_setattr: %w", err)
	}
	return nil
}

// moveIn makes the new root the root, read-only, and hands the host the folder for the socket.
func (l *launcher) moveIn() error {
	if err := unix.Chdir(scaffold); err != nil {
		return err
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("pivot_root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("let go of the old root: %w", err)
	}
	if err := unix.Chdir("/"); err != nil {
		return err
	}
	if err := unix.MountSetattr(unix.AT_FDCWD, "/", 0, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}); err != nil {
		return fmt.Errorf("make the root read-only: %w", err)
	}
	folder, err := unix.Open(strictSockets, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer closeFD(folder)
	return l.say(sayFolder, nil, folder)
}
