package launcher

import (
	"errors"
	"syscall"
	"unsafe"
)

// scaffold is the folder on which the new root is built. /proc exists and can be entered wherever a launcher can be started as /proc/self/exe, and no
// bind has its source there.
const scaffold = "/proc"

// Options of a strict worker's tmpfs mounts. Their content is in memory.
const (
	rootOptions    = "size=64k,nr_inodes=1024,mode=0755"
	socketsOptions = "size=16k,nr_inodes=32,mode=0700"
	tmpOptions     = "nr_inodes=4096,mode=0700,size="
)

// furnish builds a private root in the new namespaces.
func (l *launcher) furnish() error {
	if !l.spec.Spaces {
		return nil
	}
	if err := syscall.Sethostname([]byte("sandbox")); err != nil {
		return failed("sethostname", err)
	}
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return failed("make mounts private", err)
	}
	const guarded = syscall.MS_NOSUID | syscall.MS_NODEV | syscall.MS_NOEXEC
	if err := syscall.Mount("root", scaffold, "tmpfs", guarded, rootOptions); err != nil {
		return failed("mount a root", err)
	}
	for _, f := range []struct {
		label, name, options string
	}{
		{"plugin", Sockets, socketsOptions},
		{"tmp", "/tmp", tmpOptions + decimal(uint64(l.spec.TmpBytes))},
	} {
		if err := makeFolders(scaffold + f.name); err != nil {
			return err
		}
		if err := syscall.Mount(f.label, scaffold+f.name, "tmpfs", guarded, f.options); err != nil {
			return failed("mount "+f.name, err)
		}
	}
	for _, m := range l.spec.Mounts {
		if err := attach(m); err != nil {
			return failed("bind "+m.Source, err)
		}
	}
	for _, d := range l.spec.Devices {
		if err := attach(Mount{Source: d, Target: d, FD: -1, Write: true}); err != nil {
			return failed("bind "+d, err)
		}
	}
	return l.moveIn()
}

// makeFolders creates a folder below the scaffold, and its parents.
func makeFolders(name string) error {
	for i := len(scaffold) + 1; i <= len(name); i++ {
		if i < len(name) && name[i] != '/' {
			continue
		}
		err := syscall.Mkdir(name[:i], 0o755)
		if errors.Is(err, syscall.EEXIST) {
			err = notALink(name[:i])
		} else if err != nil {
			err = failed("mkdir "+name[:i], err)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// notALink refuses a symbolic link, because it would lead out of the scaffold. Such a link belongs to the host and lies in a folder that is bound
// there.
func notALink(name string) error {
	var st syscall.Stat_t
	if err := syscall.Lstat(name, &st); err != nil {
		return failed("lstat "+name, err)
	}
	if st.Mode&syscall.S_IFMT == syscall.S_IFLNK {
		return &fault{step: name[len(scaffold):] + " is a link there: say where it leads instead"}
	}
	return nil
}

// makeFile creates an empty file, unless the name exists.
func makeFile(name string) error {
	fd, err := syscall.Open(name, syscall.O_CREAT|syscall.O_EXCL|syscall.O_WRONLY|syscall.O_CLOEXEC, 0o600)
	if errors.Is(err, syscall.EEXIST) {
		return nil
	}
	if err != nil {
		return failed("create "+name, err)
	}
	return syscall.Close(fd)
}

// attach binds a file or folder into the new root.
func attach(m Mount) error {
	fd := m.FD
	if fd < 0 {
		source, err := syscall.BytePtrFromString(m.Source)
		if err != nil {
			return err
		}
		tree, _, errno := syscall.RawSyscall(sysOpenTree, here(), uintptr(unsafe.Pointer(source)), openTreeClone|syscall.O_CLOEXEC|atRecursive)
		if errno != 0 {
			return failed("open_tree", errno)
		}
		fd = int(tree)
	}
	defer closeFD(fd)
	var st syscall.Stat_t
	if err := syscall.Fstat(fd, &st); err != nil {
		return failed("stat", err)
	}
	if err := same(&st, m.Dev, m.Ino); err != nil {
		return err
	}
	target := scaffold + m.Target
	if err := makeFolders(folderOf(target)); err != nil {
		return err
	}
	var err error
	if st.Mode&syscall.S_IFMT == syscall.S_IFDIR {
		err = makeFolders(target)
	} else {
		err = makeFile(target)
	}
	if err != nil {
		return err
	}
	// A bound device stays usable. A device inside a bound folder does not, because plugins do not need it.
	attr := mountAttr{set: mountAttrNoSUID}
	if st.Mode&syscall.S_IFMT != syscall.S_IFCHR {
		attr.set |= mountAttrNoDev
	}
	if m.Write {
		attr.set |= mountAttrNoExec
	} else {
		attr.set |= mountAttrReadOnly
	}
	if err := setAttributes(fd, "", atRecursive|atEmptyPath, &attr); err != nil {
		return err
	}
	return moveMount(fd, target)
}

// same returns an error if a file has another device or inode than expected. An ino of 0 accepts every file.
func same(st *syscall.Stat_t, dev, ino uint64) error {
	if ino != 0 && (st.Dev != dev || st.Ino != ino) {
		return &fault{step: "it is another file or folder than when the sandbox was opened"}
	}
	return nil
}

// here returns AT_FDCWD as an argument for system calls that take the descriptor of a starting folder.
func here() uintptr {
	fd := atFDCWD
	return uintptr(fd)
}

// folderOf returns the folder of an absolute file name.
func folderOf(name string) string {
	i := len(name) - 1
	for i > 0 && name[i] != '/' {
		i--
	}
	return name[:i]
}

func moveMount(fd int, target string) error {
	name, err := syscall.BytePtrFromString(target)
	if err != nil {
		return err
	}
	var empty byte
	return call("move_mount", sysMoveMount, uintptr(fd), uintptr(unsafe.Pointer(&empty)), here(), uintptr(unsafe.Pointer(name)), moveMountEmptyPath)
}

func setAttributes(folder int, target string, flags uintptr, attr *mountAttr) error {
	name, err := syscall.BytePtrFromString(target)
	if err != nil {
		return err
	}
	return call("mount_setattr "+target, sysMountSetattr, uintptr(folder), uintptr(unsafe.Pointer(name)), flags, uintptr(unsafe.Pointer(attr)), unsafe.Sizeof(*attr))
}

// moveIn makes the new root the root of this process, read-only, and sends the host a descriptor of the socket folder.
func (l *launcher) moveIn() error {
	if err := syscall.Chdir(scaffold); err != nil {
		return failed("chdir "+scaffold, err)
	}
	if err := syscall.PivotRoot(".", "."); err != nil {
		return failed("pivot_root", err)
	}
	if err := syscall.Unmount(".", syscall.MNT_DETACH); err != nil {
		return failed("let go of the old root", err)
	}
	if err := syscall.Chdir("/"); err != nil {
		return failed("chdir /", err)
	}
	if err := setAttributes(atFDCWD, "/", 0, &mountAttr{set: mountAttrReadOnly}); err != nil {
		return failed("make the root read-only", err)
	}
	folder, err := syscall.Open(Sockets, oPath|syscall.O_DIRECTORY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return failed("open "+Sockets, err)
	}
	defer closeFD(folder)
	return l.say(SayFolder, nil, folder)
}
