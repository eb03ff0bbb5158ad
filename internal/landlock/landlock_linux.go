package landlock

import (
	"os"
	"os/exec"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// variable, set in the environment, makes a process try Landlock and exit. Its exit code is firstABI plus the version of Landlock.
const (
	variable = "PARHOST_LANDLOCK_TRIAL"
	firstABI = 100
)

// The check runs in init. If main had to call it, a program without that call would start itself again without end.
func init() {
	if os.Getenv(variable) == "" {
		return
	}
	abi := ask()
	if abi > 0 && try() != nil {
		abi = 0
	}
	os.Exit(firstABI + abi)
}

// ABI returns the version of Landlock that this process can use, or 0 if there is none.
//
// A seccomp filter, such as that of systemd's SystemCallFilter=, may kill a process for a system call of Landlock. So a process with a filter
// starts its own program again, and that process tries the calls.
var ABI = sync.OnceValue(func() int {
	if mode, err := unix.PrctlRetInt(unix.PR_GET_SECCOMP, 0, 0, 0, 0); err != nil || mode == 0 {
		return ask()
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{"GOMAXPROCS=1", variable + "=1"}
	_ = cmd.Run()
	return max(0, cmd.ProcessState.ExitCode()-firstABI) // the exit code is -1 if a signal killed the process
})

// ask asks the kernel for its version of Landlock. It does not read /sys/kernel/security/lsm, which is often not mounted even where Landlock works.
func ask() int {
	version, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return 0
	}
	return int(version)
}

// try makes all system calls of Landlock. Afterwards this thread may only execute files below /proc.
func try() error {
	handled := uint64(unix.LANDLOCK_ACCESS_FS_EXECUTE)
	ruleset, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&handled)), unsafe.Sizeof(handled), 0)
	if errno != 0 {
		return errno
	}
	folder, err := unix.Open("/proc", unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	rule := unix.LandlockPathBeneathAttr{Allowed_access: handled, Parent_fd: int32(folder)}
	if _, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, ruleset, unix.LANDLOCK_RULE_PATH_BENEATH, uintptr(unsafe.Pointer(&rule)), 0, 0, 0); errno != 0 {
		return errno
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	if _, _, errno := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, ruleset, 0, 0); errno != 0 {
		return errno
	}
	return nil
}
