package refuse

import (
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	load      = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
	jumpEqual = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
	jumpSet   = unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K
	ret       = unix.BPF_RET | unix.BPF_K
)

// Offsets in struct seccomp_data: of the number of the call, and of the first argument on a little-endian machine.
const (
	atNumber   = 0
	atArgument = 16
)

// Calls makes system calls, given by number, return an error each. This applies to all threads of this process and to all processes that it starts,
// and cannot be undone.
func Calls(errs map[uintptr]unix.Errno) error {
	program := []unix.SockFilter{{Code: load, K: atNumber}}
	for number, errno := range errs {
		program = append(program, answer(number, unix.SECCOMP_RET_ERRNO|uint32(errno))...)
	}
	return install(append(program, unix.SockFilter{Code: ret, K: unix.SECCOMP_RET_ALLOW}))
}

// Kill makes the kernel kill a process that makes one of these system calls. This applies to this process and to all processes that it starts.
func Kill(numbers []uintptr) error {
	program := []unix.SockFilter{{Code: load, K: atNumber}}
	for _, number := range numbers {
		program = append(program, answer(number, unix.SECCOMP_RET_KILL_PROCESS)...)
	}
	return install(append(program, unix.SockFilter{Code: ret, K: unix.SECCOMP_RET_ALLOW}))
}

// Container gives this process the restrictions of a container with Docker's default seccomp profile and without added capabilities: no system call
// that creates or enters a namespace, mounts, or uses keys succeeds (github.com/moby/profiles, seccomp/default.json).
func Container() error {
	const spaces = unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET
	program := []unix.SockFilter{{Code: load, K: atNumber}}
	for _, number := range privileged {
		program = append(program, answer(number, unix.SECCOMP_RET_ERRNO|uint32(unix.EPERM))...)
	}
	program = append(program, answer(unix.SYS_CLONE3, unix.SECCOMP_RET_ERRNO|uint32(unix.ENOSYS))...) // its flags lie behind a pointer
	return install(append(program,
		unix.SockFilter{Code: jumpEqual, K: unix.SYS_CLONE, Jf: 3},
		unix.SockFilter{Code: load, K: atArgument},
		unix.SockFilter{Code: jumpSet, K: spaces, Jf: 1},
		unix.SockFilter{Code: ret, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)},
		unix.SockFilter{Code: ret, K: unix.SECCOMP_RET_ALLOW},
	))
}

// privileged are the system calls that the profile allows only to containers with capabilities.
var privileged = []uintptr{
	unix.SYS_ACCT, unix.SYS_ADD_KEY, unix.SYS_BPF, unix.SYS_CLOCK_SETTIME, unix.SYS_DELETE_MODULE, unix.SYS_FANOTIFY_INIT, unix.SYS_FINIT_MODULE,
	unix.SYS_FSCONFIG, unix.SYS_FSMOUNT, unix.SYS_FSOPEN, unix.SYS_FSPICK, unix.SYS_GET_MEMPOLICY, unix.SYS_INIT_MODULE, unix.SYS_IO_URING_ENTER,
	unix.SYS_IO_URING_REGISTER, unix.SYS_IO_URING_SETUP, unix.SYS_KCMP, unix.SYS_KEXEC_FILE_LOAD, unix.SYS_KEXEC_LOAD, unix.SYS_KEYCTL,
	unix.SYS_LOOKUP_DCOOKIE, unix.SYS_MBIND, unix.SYS_MOUNT, unix.SYS_MOUNT_SETATTR, unix.SYS_MOVE_MOUNT, unix.SYS_MOVE_PAGES,
	unix.SYS_OPEN_BY_HANDLE_AT, unix.SYS_OPEN_TREE, unix.SYS_PERF_EVENT_OPEN, unix.SYS_PIVOT_ROOT, unix.SYS_QUOTACTL, unix.SYS_REBOOT,
	unix.SYS_REQUEST_KEY, unix.SYS_SETDOMAINNAME, unix.SYS_SETHOSTNAME, unix.SYS_SETNS, unix.SYS_SETTIMEOFDAY, unix.SYS_SET_MEMPOLICY,
	unix.SYS_SWAPOFF, unix.SYS_SWAPON, unix.SYS_SYSLOG, unix.SYS_UMOUNT2, unix.SYS_UNSHARE, unix.SYS_USERFAULTFD, unix.SYS_VHANGUP,
}

// answer returns filter instructions that give an action to one system call. The filter must have loaded the number of the call.
func answer(number uintptr, action uint32) []unix.SockFilter {
	return []unix.SockFilter{{Code: jumpEqual, K: uint32(number), Jf: 1}, {Code: ret, K: action}}
}

func install(program []unix.SockFilter) error {
	runtime.LockOSThread() // prctl applies to this thread; TSYNC copies it to all others
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	filter := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	r, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&filter)))
	switch {
	case errno != 0:
		return errno
	case r != 0:
		return fmt.Errorf("thread %d does not take the filter", r)
	}
	return nil
}
