package gobuild

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/parhost/parhost/internal/landlock"
)

// rulesetAttr is struct landlock_ruleset_attr up to its net field, which ABI 4 added.
type rulesetAttr struct {
	fs, net uint64
}

// rights maps each access level to the Landlock rights that it allows below a path.
var rights = map[access]uint64{
	list: unix.LANDLOCK_ACCESS_FS_READ_DIR,
	read: unix.LANDLOCK_ACCESS_FS_READ_DIR | unix.LANDLOCK_ACCESS_FS_READ_FILE,
	run:  unix.LANDLOCK_ACCESS_FS_READ_DIR | unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_EXECUTE,
	change: unix.LANDLOCK_ACCESS_FS_READ_DIR | unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_WRITE_FILE |
		unix.LANDLOCK_ACCESS_FS_MAKE_REG | unix.LANDLOCK_ACCESS_FS_MAKE_DIR | unix.LANDLOCK_ACCESS_FS_MAKE_SYM |
		unix.LANDLOCK_ACCESS_FS_REMOVE_FILE | unix.LANDLOCK_ACCESS_FS_REMOVE_DIR | unix.LANDLOCK_ACCESS_FS_REFER | unix.LANDLOCK_ACCESS_FS_TRUNCATE,
}

// fileRights are the rights that a rule for a single file may contain.
const fileRights = unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_TRUNCATE

func hasWall() bool { return landlock.ABI() > 0 }

// runWalled runs a command that can reach the granted files and nothing else. If the kernel supports it (ABI 4), the command can use no TCP port.
//
// Landlock restricts one thread and the processes that this thread starts. So the command is started on a thread of its own, which ends with the
// goroutine that is locked to it. Go starts no other thread from a locked one (package runtime, startTemplateThread).
func runWalled(b *bounds, cmd *exec.Cmd, g grants) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked, so that the restricted thread ends with this goroutine
		err := restrict(g)
		if err == nil {
			err = b.runBuild(cmd)
		}
		done <- err
	}()
	return <-done
}

// restrict confines the calling thread. This cannot be undone.
func restrict(g grants) error {
	abi := landlock.ABI()
	attr := rulesetAttr{fs: 1<<13 - 1} // the rights that ABI 1 knows
	size := unsafe.Offsetof(attr.net)
	if abi >= 2 {
		attr.fs |= unix.LANDLOCK_ACCESS_FS_REFER
	}
	if abi >= 3 {
		attr.fs |= unix.LANDLOCK_ACCESS_FS_TRUNCATE
	}
	if abi >= 4 {
		attr.net = unix.LANDLOCK_ACCESS_NET_BIND_TCP | unix.LANDLOCK_ACCESS_NET_CONNECT_TCP
		size = unsafe.Sizeof(attr)
	}
	fd, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), size, 0)
	if errno != 0 {
		return fmt.Errorf("landlock_create_ruleset: %w", errno)
	}
	defer func() { _ = unix.Close(int(fd)) }()
	for path, a := range g.named {
		err := grant(int(fd), path, &unix.OpenHow{}, 0, rights[a]&attr.fs)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return &os.PathError{Op: "landlock", Path: path, Err: err}
		}
	}
	// A path that has become a symbolic link or another kind of file since it was resolved is not granted.
	exact := &unix.OpenHow{Resolve: unix.RESOLVE_NO_SYMLINKS}
	for path, a := range g.folders {
		if err := grant(int(fd), path, exact, unix.S_IFDIR, rights[a]&attr.fs); isFailure(err) {
			return &os.PathError{Op: "landlock", Path: path, Err: err}
		}
	}
	for path := range g.files {
		if err := grant(int(fd), path, exact, unix.S_IFREG, rights[read]&attr.fs); isFailure(err) {
			return &os.PathError{Op: "landlock", Path: path, Err: err}
		}
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("no_new_privs: %w", err)
	}
	if _, _, errno := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, fd, 0, 0); errno != 0 {
		return fmt.Errorf("landlock_restrict_self: %w", errno)
	}
	return nil
}

// isFailure reports whether err means more than that no file or folder of the expected kind is at a path.
func isFailure(err error) bool {
	return err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, unix.ENOTDIR) && !errors.Is(err, unix.ELOOP)
}

// grant adds a rule to a ruleset: the access that is allowed to a file, or to a folder and everything below it. kind is a file type (S_IFDIR or
// S_IFREG), and a path of another type gets no rule; 0 means any type.
func grant(ruleset int, path string, how *unix.OpenHow, kind uint32, allowed uint64) error {
	how.Flags = unix.O_PATH | unix.O_CLOEXEC
	fd, err := unix.Openat2(unix.AT_FDCWD, path, how)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if kind != 0 && st.Mode&unix.S_IFMT != kind {
		return nil
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		allowed &= fileRights
	}
	if allowed == 0 {
		return nil
	}
	rule := unix.LandlockPathBeneathAttr{Allowed_access: allowed, Parent_fd: int32(fd)}
	_, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(ruleset), unix.LANDLOCK_RULE_PATH_BENEATH, uintptr(unsafe.Pointer(&rule)), 0, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}
