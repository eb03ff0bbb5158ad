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

// needs decides which system calls a filter allows.
type needs struct {
	level Level
	// exec is the descriptor that may be executed; -1 means that files may be executed by their names.
	exec int
	fork bool
	net  bool
	// locks allows file locks. Only a worker with ReadWrite files needs them, because others see these files too.
	locks bool
	// kill allows signals to any process, because another wall keeps them from the host and its other processes.
	kill bool
}

// calm are system calls that affect only the process itself and what it has opened. The list has all calls that Go's runtime, glibc, musl and Python
// make, and none that their programs do not need.
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
	// identity and environment of the process
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

// private are system calls that change or read attributes of files and that Landlock does not control. They are harmless where all files belong to
// the process itself.
var private = []string{"getxattr", "lgetxattr", "truncate", "utime", "utimes", "utimensat", "futimesat"}

// descriptorCommands are the commands of fcntl(2) that affect only the process itself. Others make the kernel signal a process of the caller's choice
// (F_SETOWN, F_SETSIG), make every process that opens a file wait (F_SETLEASE), or use up what all processes of a user share (F_SETPIPE_SZ).
var descriptorCommands = []uint32{
	unix.F_DUPFD, unix.F_DUPFD_CLOEXEC, unix.F_GETFD, unix.F_SETFD, unix.F_GETFL, unix.F_SETFL, unix.F_GETPIPE_SZ, unix.F_GET_SEALS, unix.F_ADD_SEALS,
}

// lockCommands are the commands of fcntl(2) that lock files. A lock takes kernel memory that no limit counts (fs/locks.c). It also blocks other
// processes that lock the same file, and the locking process needs no write permission for that.
var lockCommands = []uint32{unix.F_GETLK, unix.F_SETLK, unix.F_SETLKW, unix.F_OFD_GETLK, unix.F_OFD_SETLK, unix.F_OFD_SETLKW}

// ofThread are the flags of clone(2) that every thread has. A thread without CLONE_FILES, for example, would have its own descriptors, up to the
// limit once more.
const ofThread = unix.CLONE_THREAD | unix.CLONE_VM | unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SIGHAND

// notOfParent are the flags of clone(2) that a worker's child must not have: those that make a namespace, and CLONE_PARENT, which would make it a
// child of the host.
const notOfParent = unix.CLONE_PARENT | unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS |
	unix.CLONE_NEWCGROUP | unix.CLONE_NEWTIME

// attributes are system calls about extended attributes of files. A program that copies a file and gets EOPNOTSUPP assumes that the file has no such
// attributes, and copies the rest.
var attributes = []string{
	"listxattr", "llistxattr", "flistxattr", "setxattr", "lsetxattr", "fsetxattr", "removexattr", "lremovexattr", "fremovexattr",
}

// pipeHolders are system calls that sleep while they hold a pipe's lock, for as long as the process at the other end of a socket, or the memory of a
// file, makes them wait. Meanwhile every process that reads, writes or closes the pipe waits too, and signals do not wake it. The filter returns
// EINVAL, which these calls also return for unsuitable descriptors, so programs fall back to read and write. vmsplice(2) has no such fallback and
// gets EPERM.
var pipeHolders = []string{"sendfile", "sendfile64", "splice", "tee"}

// waits maps the system calls that queue the calling thread once for each descriptor in a list. The value is the number of the argument with the
// list's length. A write to a socket visits every queued entry with interrupts off, and no signal ends it. An epoll instance multiplies the entries:
// if 1000 threads each poll an instance 1000 times, and the instance watches a socket 1000 times, one write takes 22 s. The writer may be the host.
// epoll_wait(2) queues a thread only once.
var waits = map[string]int{"poll": 1, "ppoll": 1, "select": 0, "pselect6": 0}

// maxWaits is the longest list that the calls in waits may have. It must be a power of two.
const maxWaits = 64

// socketOptions are options of setsockopt(2) and getsockopt(2), of SOL_SOCKET and SOL_TCP, that a worker must not use. Some return a descriptor of
// the process at the other end, which may be the host. Others give the kernel a packet filter program, or make it take over a protocol.
var socketOptions = []uint32{
	unix.SO_PASSPIDFD, unix.SO_PEERPIDFD, unix.SO_ATTACH_FILTER, unix.SO_ATTACH_BPF, unix.SO_ATTACH_REUSEPORT_CBPF, unix.SO_ATTACH_REUSEPORT_EBPF, unix.TCP_ULP,
}

// Requests of ioctl(2) that work on any descriptor (include/uapi/asm-generic/ioctls.h).
const (
	fionbio  = 0x5421
	fionclex = 0x5450
	fioclex  = 0x5451
)

// filter returns the seccomp program. A system call that it does not allow gets EPERM.
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

// answers returns the answer for each allowed system call. Names that are not in known do not exist on this architecture, and are skipped.
func (n *needs) answers(known map[string]int) answers {
	all := answers{}
	allow := func(name string, conditions ...condition) {
		if number, ok := known[name]; ok {
			a := all[uint32(number)]
			a.cases, a.errno = append(a.cases, conditions), unix.EPERM
			all[uint32(number)] = a
		}
	}
	// refuse sets the error that a system call returns for arguments that no case allows. A filter cannot read arguments behind a pointer. Such a
	// call gets ENOSYS, so that programs fall back to an older call.
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
		allow(name, has(length, ^uint32(maxWaits-1), 0))
		allow(name, is(length, maxWaits))
		refuse(name, unix.EINVAL) // the error for a list that is longer than RLIMIT_NOFILE
	}
	for _, name := range pipeHolders {
		refuse(name, unix.EINVAL)
	}
	refuse("clone3", unix.ENOSYS)
	allow("close_range", has(2, unix.CLOSE_RANGE_UNSHARE, 0)) // without CLOSE_RANGE_UNSHARE, which would give a thread its own descriptors
	for _, command := range descriptorCommands {
		allow("fcntl", is(1, command))
	}
	if n.locks {
		allow("flock")
		for _, command := range lockCommands {
			allow("fcntl", is(1, command))
		}
	}
	// MAP_GROWSDOWN is refused because RLIMIT_DATA does not count memory that grows by itself. MAP_HUGETLB is refused because no cgroup counts the
	// machine's huge pages as memory.
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
	allow("prlimit64", isAt(2, 0)...) // limits may be read, not set
	return all
}

// An allower adds one case in which a system call is allowed.
type allower func(name string, conditions ...condition)

// is holds if an int argument has this value.
func is(argument int, value uint32) condition { return has(argument, ^uint32(0), value) }

// isNot holds if an int argument has another value.
func isNot(argument int, value uint32) condition {
	c := is(argument, value)
	c.not = true
	return c
}

// has holds if the argument's bits in mask have this value.
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
	// Landlock checks the permission to read when a file is opened for reading, and to write when it is opened for writing. Access mode 3 means
	// neither, and Landlock checks nothing. Before ABI 3 Landlock does not check truncation.
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
	// fallocate(2) with FALLOC_FL_KEEP_SIZE makes a file take space beyond RLIMIT_FSIZE. Punching a hole into memory that is mapped thousands of
	// times takes seconds, and every process that touches or unmaps that memory, such as the host, waits until it is done (mm/shmem.c, shmem_fault;
	// mm/memory.c, unmap_mapping_range).
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

// creates are the flags of open(2) that make it use the mode argument: O_CREAT, and O_TMPFILE without the O_DIRECTORY bit.
const creates = unix.O_CREAT | unix.O_TMPFILE&^unix.O_DIRECTORY

// noSetID holds if an argument is a file mode without the set-user-ID and set-group-ID bits. In a folder of the host, another user of the host could
// execute such a file with the rights of the file's owner, who is the host's user.
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
	// The launcher may execute the plugin once, and the plugin may execute nothing. The filter checks the addresses of the launcher's name and
	// arguments, which nobody can guess. A thread that executes another program would also lose the signal that kills it with its host (prctl(2),
	// PR_SET_PDEATHSIG).
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
		allow(name, is(0, unix.AF_UNIX), stream) // a datagram socketpair can send to any name
	}
	if !n.net {
		return
	}
	allow("connect")
	for _, domain := range []uint32{unix.AF_INET, unix.AF_INET6} {
		for _, kind := range []condition{stream, datagram} {
			for _, protocol := range []uint32{0, unix.IPPROTO_TCP, unix.IPPROTO_UDP} { // MPTCP is not allowed
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
