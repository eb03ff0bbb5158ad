package sandbox

import (
	"errors"
	"fmt"
	"runtime"
	"slices"

	"github.com/elastic/go-seccomp-bpf/arch"
	"golang.org/x/sys/unix"

	"github.com/parhost/parhost/host/sandbox/internal/launcher"
)

// needs is what decides which system calls a filter allows.
type needs struct {
	level Level
	// exec is the descriptor that may be executed; -1 means that files may be, by their names.
	exec int
	fork bool
	net  bool
	// locks says that it may lock files: there are some that others see too.
	locks bool
	// kill says that signals cannot reach the host or its other processes anyway.
	kill bool
}

// calm are system calls that touch nothing but the process itself and what it has opened. What Go's runtime, glibc, musl and Python
// call is all there; what no program of theirs needs is not.
var calm = []string{
	// memory
	"brk", "mincore", "mlock", "mlock2", "mprotect", "mremap", "msync", "munlock", "munmap", "membarrier",
	"pkey_alloc", "pkey_free", "pkey_mprotect",
	// threads and signals
	"arch_prctl", "exit", "exit_group", "futex", "futex_wait", "futex_wake", "futex_waitv", "futex_requeue", "get_robust_list",
	"set_robust_list", "set_tid_address", "rseq", "rt_sigaction", "rt_sigpending", "rt_sigprocmask", "rt_sigreturn", "rt_sigsuspend",
	"rt_sigtimedwait", "sigaltstack", "restart_syscall", "pause", "sched_yield", "sched_getaffinity", "sched_getattr",
	"sched_getparam", "sched_getscheduler", "sched_get_priority_max", "sched_get_priority_min", "getcpu", "wait4", "waitid",
	// time
	"clock_getres", "clock_gettime", "clock_nanosleep", "nanosleep", "gettimeofday", "time", "times", "alarm", "getitimer",
	"setitimer", "timer_create", "timer_delete", "timer_getoverrun", "timer_gettime", "timer_settime", "timerfd_create",
	"timerfd_gettime", "timerfd_settime",
	// who and where am I
	"getpid", "getppid", "gettid", "getpgid", "getpgrp", "getsid", "getuid", "geteuid", "getgid", "getegid", "getresuid", "getresgid",
	"getgroups", "getpriority", "getrlimit", "getrusage", "sysinfo", "uname", "umask", "getcwd", "capget", "getrandom", "fgetxattr",
	// descriptors
	"close", "dup", "dup2", "dup3", "epoll_create", "epoll_create1", "epoll_ctl", "epoll_pwait", "epoll_pwait2",
	"epoll_wait", "eventfd", "eventfd2", "pipe", "pipe2", "signalfd", "signalfd4", "read", "readv", "pread64", "preadv", "preadv2", "write", "writev", "pwrite64", "pwritev", "pwritev2", "lseek",
	"fsync", "fdatasync", "sync_file_range", "ftruncate", "fadvise64", "readahead", "copy_file_range", "fstat", "fstatfs", "getdents", "getdents64",
	// files, as far as Landlock and the root allow
	"access", "faccessat", "faccessat2", "chdir", "fchdir", "stat", "lstat", "newfstatat",
	"statx", "statfs", "readlink", "readlinkat", "link", "linkat", "symlink", "symlinkat", "mkdir", "mkdirat", "rename", "renameat",
	"renameat2", "rmdir", "unlink", "unlinkat",
	// the server's socket
	"accept", "accept4", "bind", "listen", "getpeername", "getsockname", "shutdown", "recvfrom", "recvmsg", "recvmmsg", "sendto", "sendmsg",
	"sendmmsg",
}

// private are system calls that change files, or tell of them, which Landlock does not guard against them: harmless where all files are
// the process's own.
var private = []string{"getxattr", "lgetxattr", "truncate", "utime", "utimes", "utimensat", "futimesat"}

// descriptorCommands are those of fcntl(2) that concern the process alone. Others have the kernel signal whom the process likes (F_SETOWN,
// F_SETSIG), have whoever opens a file wait for it (F_SETLEASE), or take what all processes of a user have together (F_SETPIPE_SZ).
var descriptorCommands = []uint32{
	unix.F_DUPFD, unix.F_DUPFD_CLOEXEC, unix.F_GETFD, unix.F_SETFD, unix.F_GETFL, unix.F_SETFL, unix.F_GETPIPE_SZ, unix.F_GET_SEALS, unix.F_ADD_SEALS,
}

// lockCommands are those that lock files. A lock is memory of the kernel that no limit counts (fs/locks.c), and keeps others waiting who
// lock the same file, which it takes no right to write for.
var lockCommands = []uint32{unix.F_GETLK, unix.F_SETLK, unix.F_SETLKW, unix.F_OFD_GETLK, unix.F_OFD_SETLK, unix.F_OFD_SETLKW}

// ofThread are the flags of clone(2) that all threads have. One without CLONE_FILES, say, has descriptors of its own, as many as the limit.
const ofThread = unix.CLONE_THREAD | unix.CLONE_VM | unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SIGHAND

// notOfParent are the flags of clone(2) that no process has that is its parent's alone: those that make a namespace, and the one that
// makes a child of the parent's parent, which is the host.
const notOfParent = unix.CLONE_PARENT | unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS |
	unix.CLONE_NEWCGROUP | unix.CLONE_NEWTIME

// attributes are system calls about extended attributes of files. Whoever copies a file takes it that there are none, and copies the rest.
var attributes = []string{
	"listxattr", "llistxattr", "flistxattr", "setxattr", "lsetxattr", "fsetxattr", "removexattr", "lremovexattr", "fremovexattr",
}

// pipeHolders are system calls that sleep with a pipe's lock, for as long as the process at the other side of a socket or the memory of a file
// likes. Everybody else who reads, writes or closes that pipe waits meanwhile, deaf to signals. EINVAL is what they say of descriptors that they
// cannot do it for, so that programs copy by read and write. vmsplice(2), which has no such way out, is EPERM.
var pipeHolders = []string{"sendfile", "sendfile64", "splice", "tee"}

// waits maps system calls that queue the calling thread once for each descriptor in a list to the number of the argument with the list's length. A write
// to a socket visits every queued entry with interrupts off, and no signal ends it. An epoll instance multiplies the entries: with 1000 threads that poll an
// instance 1000 times each, which watches a socket 1000 times, one write takes 22 s. The writer may be the host. epoll_wait(2) queues a thread only once.
var waits = map[string]int{"poll": 1, "ppoll": 1, "select": 0, "pselect6": 0}

// mostWaits is how long the list of one of the waits may be: a power of two.
const mostWaits = 64

// socketOptions are those of setsockopt(2) and getsockopt(2) that give a descriptor of the process at the other end, which may be the host,
// and those that hand the kernel a program for packets or have it take over a protocol, of SOL_SOCKET and SOL_TCP.
var socketOptions = []uint32{
	unix.SO_PASSPIDFD, unix.SO_PEERPIDFD, unix.SO_ATTACH_FILTER, unix.SO_ATTACH_BPF, unix.SO_ATTACH_REUSEPORT_CBPF, unix.SO_ATTACH_REUSEPORT_EBPF, unix.TCP_ULP,
}

// Requests of ioctl(2) on any descriptor (include/uapi/asm-generic/ioctls.h).
const (
	fionbio  = 0x5421
	fionclex = 0x5450
	fioclex  = 0x5451
)

// filter is what is allowed as a program for the kernel; everything else is EPERM.
func (n needs) filter() ([]byte, error) {
	machine, err := arch.GetInfo("")
	if err == nil && runtime.GOARCH == "s390x" {
		err = errors.New("arguments of system calls have another order there")
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", runtime.GOARCH, err)
	}
	return n.answers(machine.SyscallNames).assemble(machine)
}

// answers says what comes of system calls. Those that are not known are not on this architecture: each has its own.
func (n *needs) answers(known map[string]int) answers {
	all := answers{}
	allow := func(name string, conditions ...condition) {
		if number, ok := known[name]; ok {
			a := all[uint32(number)]
			a.cases, a.errno = append(a.cases, conditions), unix.EPERM
			all[uint32(number)] = a
		}
	}
	// refuse sets the error of a system call for arguments that no case allows. A filter cannot see arguments behind a pointer: such a call gets ENOSYS, so
	// that programs fall back to an older call.
	refuse := func(name string, errno unix.Errno) {
		if number, ok := known[name]; ok {
			a := all[uint32(number)]
			a.errno = errno
			all[uint32(number)] = a
		}
	}
	for _, name := range calm {
		allow(name)
	}
	n.allowFiles(allow, refuse)
	n.allowProcesses(allow)
	n.allowSockets(allow)
	n.allowSignals(allow)
	for name, length := range waits {
		allow(name, has(length, ^uint32(mostWaits-1), 0))
		allow(name, is(length, mostWaits))
		refuse(name, unix.EINVAL) // as for a list that is longer than RLIMIT_NOFILE
	}
	for _, name := range pipeHolders {
		refuse(name, unix.EINVAL)
	}
	refuse("clone3", unix.ENOSYS)
	allow("close_range", has(2, unix.CLOSE_RANGE_UNSHARE, 0)) // which gives a thread descriptors of its own
	for _, command := range descriptorCommands {
		allow("fcntl", is(1, command))
	}
	if n.locks {
		allow("flock")
		for _, command := range lockCommands {
			allow("fcntl", is(1, command))
		}
	}
	// Neither what grows by itself, which RLIMIT_DATA does not count, nor the machine's huge pages, which no cgroup counts as memory.
	allow("mmap", has(3, unix.MAP_GROWSDOWN|unix.MAP_HUGETLB, 0))
	for _, request := range []uint32{unix.TCGETS, unix.TIOCGWINSZ, unix.TIOCINQ, fionbio, fioclex, fionclex} {
		allow("ioctl", is(1, request))
	}
	for _, option := range []uint32{
		unix.PR_SET_NAME, unix.PR_GET_NAME, unix.PR_GET_DUMPABLE, unix.PR_CAPBSET_READ, unix.PR_GET_NO_NEW_PRIVS,
		unix.PR_SET_TIMERSLACK, unix.PR_GET_TIMERSLACK, unix.PR_SET_VMA,
	} {
		allow("prctl", is(0, option))
	}
	allow("prlimit64", isAt(2, 0)...) // look, do not set
	return all
}

// An allower adds a case in which a system call is allowed.
type allower func(name string, conditions ...condition)

// is holds if an argument is an int of this value.
func is(argument int, value uint32) condition { return has(argument, ^uint32(0), value) }

// isNot holds if an argument is an int of another value.
func isNot(argument int, value uint32) condition {
	c := is(argument, value)
	c.not = true
	return c
}

// has holds if an argument has these of some bits.
func has(argument int, mask, value uint32) condition {
	return condition{argument: argument, mask: mask, value: value}
}

// isAt holds if an argument is this pointer.
func isAt(argument int, pointer uint64) []condition {
	upper := is(argument, uint32(pointer>>32))
	upper.upper = true
	return []condition{is(argument, uint32(pointer)), upper}
}

func (n *needs) allowFiles(allow allower, refuse func(name string, errno unix.Errno)) {
	// Landlock asks who may read when a file is opened for reading, and who may write when for writing. For neither, as the number 3
	// means, it asks nobody; and before ABI 3 it does not see that a file is cut.
	for name, flags := range map[string]int{"open": 1, "openat": 2} {
		for _, access := range []condition{
			has(flags, unix.O_ACCMODE|unix.O_TRUNC, unix.O_RDONLY), has(flags, unix.O_ACCMODE, unix.O_WRONLY), has(flags, unix.O_ACCMODE, unix.O_RDWR),
		} {
			allow(name, access, has(flags, creates, 0))
			allow(name, access, noSetID(flags+1))
		}
	}
	allow("creat", noSetID(1))
	refuse("openat2", unix.ENOSYS)
	for _, name := range attributes {
		refuse(name, unix.EOPNOTSUPP)
	}
	// Beyond RLIMIT_FSIZE a file grows if its length stays what it was. To punch a hole into memory that is mapped thousands of times takes seconds, and
	// whoever touches or unmaps that memory, such as the host, waits until it is done (mm/shmem.c, shmem_fault; mm/memory.c, unmap_mapping_range).
	allow("fallocate", is(1, 0))
	allow("madvise", isNot(2, unix.MADV_REMOVE))
	if n.level == Strict {
		for _, name := range private {
			allow(name)
		}
		for name, mode := range map[string]int{"chmod": 1, "fchmod": 1, "fchmodat": 2, "fchmodat2": 2} {
			allow(name, noSetID(mode))
		}
	}
}

// creates are the flags of open(2) with which a mode counts: O_CREAT, and O_TMPFILE without the one for folders.
const creates = unix.O_CREAT | unix.O_TMPFILE&^unix.O_DIRECTORY

// noSetID holds if an argument is a file's mode without the bits that make somebody else of whoever executes it. In a folder of the host
// that is somebody of the host, and the file would be the host's user's.
func noSetID(argument int) condition { return has(argument, unix.S_ISUID|unix.S_ISGID, 0) }

func (n *needs) allowProcesses(allow allower) {
	if n.fork {
		allow("clone", has(0, notOfParent, 0))
		for _, name := range []string{"fork", "vfork", "execve", "execveat", "setpgid", "setsid"} {
			allow(name)
		}
		return
	}
	allow("clone", has(0, ofThread|notOfParent, ofThread))
	// The launcher becomes the plugin, and the plugin nothing else: where the launcher's name and arguments were, nobody can guess. A thread that
	// becomes another program is also rid of the signal that ends it with its host (prctl(2), PR_SET_PDEATHSIG).
	if n.exec >= 0 {
		allow("execveat", append(slices.Concat(isAt(1, launcher.SomeName), isAt(2, launcher.SomeArguments)), is(0, uint32(n.exec)), is(4, unix.AT_EMPTY_PATH))...)
	} else {
		allow("execve", slices.Concat(isAt(0, launcher.SomeName), isAt(1, launcher.SomeArguments))...)
	}
}

func (n *needs) allowSockets(allow allower) {
	for _, name := range []string{"setsockopt", "getsockopt"} {
		allow(name, isNot(1, unix.SOL_SOCKET), isNot(1, unix.SOL_TCP))
		var others []condition
		for _, option := range socketOptions {
			others = append(others, isNot(2, option))
		}
		allow(name, others...)
	}
	const flags = unix.SOCK_CLOEXEC | unix.SOCK_NONBLOCK
	stream, datagram := has(1, ^uint32(flags), unix.SOCK_STREAM), has(1, ^uint32(flags), unix.SOCK_DGRAM)
	for _, name := range []string{"socket", "socketpair"} {
		allow(name, is(0, unix.AF_UNIX), stream) // a pair of datagram sockets can send to any name
	}
	if !n.net {
		return
	}
	allow("connect")
	for _, domain := range []uint32{unix.AF_INET, unix.AF_INET6} {
		for _, kind := range []condition{stream, datagram} {
			for _, protocol := range []uint32{0, unix.IPPROTO_TCP, unix.IPPROTO_UDP} { // not MPTCP
				allow("socket", is(0, domain), kind, is(2, protocol))
			}
		}
	}
}

func (n *needs) allowSignals(allow allower) {
	if n.kill {
		for _, name := range []string{"kill", "tgkill", "tkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo"} {
			allow(name)
		}
		return
	}
	for _, name := range []string{"tgkill", "rt_tgsigqueueinfo", "kill"} {
		allow(name, is(0, launcher.SomePID))
	}
	allow("kill", is(0, 0))
	allow("kill", is(0, launcher.SomeNegative))
}
