package sandbox

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// rulesetAttr is struct landlock_ruleset_attr as of ABI 6. A kernel takes what of it is zero, however new the caller.
type rulesetAttr struct {
	fs, net, scoped uint64
}

// pathRule is struct landlock_path_beneath_attr, which is packed.
type pathRule struct {
	access uint64
	parent int32
}

// What a rule grants.
const (
	landRead    = unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_READ_DIR
	landRun     = landRead | unix.LANDLOCK_ACCESS_FS_EXECUTE
	landSocket  = landRead | unix.LANDLOCK_ACCESS_FS_MAKE_SOCK | unix.LANDLOCK_ACCESS_FS_REMOVE_FILE | unix.LANDLOCK_ACCESS_FS_MAKE_REG | unix.LANDLOCK_ACCESS_FS_WRITE_FILE // go-plugin finds a name by making a file
	landDevice  = unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_WRITE_FILE
	landChange  = landSocket | unix.LANDLOCK_ACCESS_FS_TRUNCATE | unix.LANDLOCK_ACCESS_FS_REMOVE_DIR | unix.LANDLOCK_ACCESS_FS_MAKE_DIR | unix.LANDLOCK_ACCESS_FS_MAKE_SYM | unix.LANDLOCK_ACCESS_FS_REFER
	landOfFiles = landDevice | unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_TRUNCATE | unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
)

// landlockABI asks the kernel which version of Landlock it has; 0 is none. The list in /sys/kernel/security/lsm is not asked: it
// is often not mounted where Landlock works.
func landlockABI() int {
	v, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return 0
	}
	return int(v)
}

// handled is everything that a version can forbid (include/uapi/linux/landlock.h): bits 0 to 12 since ABI 1, REFER since 2,
// TRUNCATE since 3, TCP since 4, IOCTL_DEV since 5, signals and abstract sockets since 6, unix sockets by path since 9, UDP since 10.
func handled(abi int, net bool) (attr rulesetAttr, size uintptr) {
	attr.fs = 1<<13 - 1
	size = unsafe.Offsetof(attr.net)
	if abi >= 2 {
		attr.fs |= unix.LANDLOCK_ACCESS_FS_REFER
	}
	if abi >= 3 {
		attr.fs |= unix.LANDLOCK_ACCESS_FS_TRUNCATE
	}
	if abi >= 4 {
		size = unsafe.Offsetof(attr.scoped)
		if !net {
			attr.net = unix.LANDLOCK_ACCESS_NET_BIND_TCP | unix.LANDLOCK_ACCESS_NET_CONNECT_TCP
		}
	}
	if abi >= 5 {
		attr.fs |= unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
	}
	if abi >= 6 {
		size = unsafe.Sizeof(attr)
		attr.scoped = unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET | unix.LANDLOCK_SCOPE_SIGNAL
	}
	if abi >= 9 {
		attr.fs |= unix.LANDLOCK_ACCESS_FS_RESOLVE_UNIX
	}
	if abi >= 10 && !net {
		attr.net |= unix.LANDLOCK_ACCESS_NET_BIND_UDP | unix.LANDLOCK_ACCESS_NET_CONNECT_SEND_UDP
	}
	return attr, size
}

// grant is a file or folder, with what is allowed below it.
type grant struct {
	path     string
	access   uint64
	optional bool // it need not be there
}

// openRuleset makes a ruleset that forbids all that this version can forbid, but for what is granted.
func openRuleset(abi int, net bool, grants []grant) (ruleset int, err error) {
	attr, size := handled(abi, net)
	fd, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), size, 0)
	if errno != 0 {
		return -1, fmt.Errorf("landlock_create_ruleset: %w", errno)
	}
	for _, g := range grants {
		if err := addRule(int(fd), g, attr.fs); err != nil {
			return -1, errors.Join(err, unix.Close(int(fd)))
		}
	}
	return int(fd), nil
}

func addRule(ruleset int, g grant, known uint64) error {
	fd, err := unix.Open(g.path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) && g.optional {
		return nil
	}
	if err != nil {
		return &os.PathError{Op: "open", Path: g.path, Err: err}
	}
	defer closeFD(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	access := g.access & known
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		access &= landOfFiles // others are refused
	}
	rule := pathRule{access: access, parent: int32(fd)}
	if _, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(ruleset), unix.LANDLOCK_RULE_PATH_BENEATH, uintptr(unsafe.Pointer(&rule)), 0, 0, 0); errno != 0 {
		return &os.PathError{Op: "landlock_add_rule", Path: g.path, Err: errno}
	}
	return nil
}

// restrict puts this thread, and what it becomes, under a ruleset.
func restrict(ruleset int) error {
	if _, _, errno := unix.RawSyscall(unix.SYS_LANDLOCK_RESTRICT_SELF, uintptr(ruleset), 0, 0); errno != 0 {
		return errno
	}
	return nil
}

func closeFD(fd int) { _ = unix.Close(fd) }
