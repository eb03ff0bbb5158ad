package sandbox

import (
	"encoding/binary"
	"fmt"
	"runtime"

	seccomp "github.com/elastic/go-seccomp-bpf"
	"github.com/elastic/go-seccomp-bpf/arch"
	"golang.org/x/net/bpf"
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
	// kill says that signals cannot reach the host or its other processes anyway.
	kill bool
}

// calm are system calls that touch nothing but the process itself and what it has opened. What Go's runtime, glibc, musl and Python
// call is all there; what no program of theirs needs is not.
var calm = []string{
	// memory
	"brk", "madvise", "mincore", "mlock", "mlock2", "mmap", "mprotect", "mremap", "msync", "munlock", "munmap", "membarrier",
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
	"getgroups", "getpriority", "getrlimit", "getrusage", "sysinfo", "uname", "umask", "getcwd", "capget", "getrandom", "getxattr",
	"lgetxattr", "fgetxattr",
	// descriptors
	"close", "close_range", "dup", "dup2", "dup3", "epoll_create", "epoll_create1", "epoll_ctl", "epoll_pwait", "epoll_pwait2",
	"epoll_wait", "eventfd", "eventfd2", "fcntl", "flock", "pipe", "pipe2", "poll", "ppoll", "pselect6", "select", "signalfd",
	"signalfd4", "read", "readv", "pread64", "preadv", "preadv2", "write", "writev", "pwrite64", "pwritev", "pwritev2", "lseek",
	"fsync", "fdatasync", "sync_file_range", "ftruncate", "fallocate", "fadvise64", "readahead", "copy_file_range", "sendfile",
	"splice", "tee", "fstat", "fstatfs", "getdents", "getdents64",
	// files, as far as Landlock and the root allow
	"access", "faccessat", "faccessat2", "chdir", "fchdir", "creat", "open", "openat", "openat2", "stat", "lstat", "newfstatat",
	"statx", "statfs", "readlink", "readlinkat", "link", "linkat", "symlink", "symlinkat", "mkdir", "mkdirat", "rename", "renameat",
	"renameat2", "rmdir", "unlink", "unlinkat",
	// the server's socket
	"accept", "accept4", "bind", "listen", "getpeername", "getsockname", "getsockopt", "setsockopt", "shutdown", "recvfrom", "recvmsg",
	"recvmmsg", "sendto", "sendmsg", "sendmmsg",
}

// private are system calls that change files which Landlock does not guard against them: harmless where all files are the
// process's own.
var private = []string{
	"chmod", "fchmod", "fchmodat", "fchmodat2", "truncate", "utime", "utimes", "utimensat", "futimesat", "inotify_init", "inotify_init1",
	"inotify_add_watch", "inotify_rm_watch",
}

// namespaces are the flags of clone(2) that make one.
const namespaces = unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS |
	unix.CLONE_NEWCGROUP | unix.CLONE_NEWTIME

// Requests of ioctl(2) on any descriptor (include/uapi/asm-generic/ioctls.h).
const (
	fionbio  = 0x5421
	fionclex = 0x5450
	fioclex  = 0x5451
)

// rules are the system calls that are allowed with some arguments only.
func (n *needs) rules() []seccomp.NameWithConditions {
	var rules []seccomp.NameWithConditions
	allow := func(name string, conditions ...seccomp.Condition) {
		rules = append(rules, seccomp.NameWithConditions{Name: name, Conditions: conditions})
	}
	is := func(argument uint32, value uint64) seccomp.Condition {
		return seccomp.Condition{Argument: argument, Operation: seccomp.Equal, Value: value}
	}
	noNamespace := seccomp.Condition{Argument: 0, Operation: seccomp.BitsNotSet, Value: namespaces}
	if !n.fork {
		allow("clone", seccomp.Condition{Argument: 0, Operation: seccomp.BitsSet, Value: unix.CLONE_THREAD}, noNamespace)
		if n.exec >= 0 {
			// The number is above the limit of descriptors, so that the process can never open one with it: this is allowed once.
			allow("execveat", is(0, uint64(n.exec)), is(4, unix.AT_EMPTY_PATH))
		}
	} else {
		allow("clone", noNamespace)
	}
	domains := []uint64{unix.AF_UNIX}
	types := []uint64{unix.SOCK_STREAM}
	if n.net {
		domains, types = append(domains, unix.AF_INET, unix.AF_INET6), append(types, unix.SOCK_DGRAM)
	}
	for _, domain := range domains {
		for _, kind := range types {
			for _, flags := range []uint64{0, unix.SOCK_CLOEXEC, unix.SOCK_NONBLOCK, unix.SOCK_CLOEXEC | unix.SOCK_NONBLOCK} {
				if domain == unix.AF_UNIX { // a pair of datagram sockets can send to any name
					if kind == unix.SOCK_STREAM {
						allow("socket", is(0, domain), is(1, kind|flags))
						allow("socketpair", is(0, domain), is(1, kind|flags))
					}
					continue
				}
				for _, protocol := range []uint64{0, unix.IPPROTO_TCP, unix.IPPROTO_UDP} { // not MPTCP
					allow("socket", is(0, domain), is(1, kind|flags), is(2, protocol))
				}
			}
		}
	}
	if !n.kill {
		allow("tgkill", is(0, launcher.SomePID))
		allow("rt_tgsigqueueinfo", is(0, launcher.SomePID))
		allow("kill", is(0, launcher.SomePID))
		allow("kill", is(0, 0))
		allow("kill", is(0, launcher.SomeNegative))                 // as C passes an int
		allow("kill", is(0, 0xffff_ffff<<32|launcher.SomeNegative)) // as Go does
	}
	for _, option := range []uint64{
		unix.PR_SET_NAME, unix.PR_GET_NAME, unix.PR_GET_DUMPABLE, unix.PR_CAPBSET_READ, unix.PR_GET_NO_NEW_PRIVS,
		unix.PR_SET_TIMERSLACK, unix.PR_GET_TIMERSLACK, unix.PR_SET_VMA,
	} {
		allow("prctl", is(0, option))
	}
	allow("prlimit64", is(2, 0)) // look, do not set
	for _, request := range []uint64{unix.TCGETS, unix.TIOCGWINSZ, unix.TIOCINQ, fionbio, fioclex, fionclex} {
		allow("ioctl", is(1, request))
	}
	return rules
}

// filter assembles what is allowed into a program for the kernel; everything else is EPERM.
func (n needs) filter() ([]byte, error) {
	info, err := arch.GetInfo("")
	if err != nil {
		return nil, fmt.Errorf("%s: %w", runtime.GOARCH, err)
	}
	names := append([]string(nil), calm...)
	if n.level == Strict {
		names = append(names, private...)
	}
	if n.net {
		names = append(names, "connect")
	}
	if n.kill {
		names = append(names, "kill", "tgkill", "tkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo")
	}
	if n.fork {
		names = append(names, "fork", "vfork", "execveat", "setpgid", "setsid")
	}
	if n.fork || n.exec < 0 {
		names = append(names, "execve")
	}
	known := seccomp.SyscallGroup{Action: seccomp.ActionAllow}
	for _, name := range names {
		if _, ok := info.SyscallNames[name]; ok { // each architecture has its own
			known.Names = append(known.Names, name)
		}
	}
	for _, rule := range n.rules() {
		if _, ok := info.SyscallNames[rule.Name]; ok {
			known.NamesWithCondtions = append(known.NamesWithCondtions, rule)
		}
	}
	policy := seccomp.Policy{DefaultAction: seccomp.ActionErrno, Syscalls: []seccomp.SyscallGroup{
		// Its flags lie behind a pointer, where a filter does not see them. C libraries then use clone.
		{Action: seccomp.ActionErrno | seccomp.Action(unix.ENOSYS), Names: []string{"clone3"}},
		known,
	}}
	instructions, err := policy.Assemble()
	if err != nil {
		return nil, err
	}
	raw, err := bpf.Assemble(instructions)
	if err != nil {
		return nil, err
	}
	if len(raw) > unix.BPF_MAXINSNS {
		return nil, fmt.Errorf("a filter of %d instructions, the limit is %d", len(raw), unix.BPF_MAXINSNS)
	}
	var b []byte
	for _, r := range raw {
		b = binary.NativeEndian.AppendUint16(b, r.Op)
		b = append(b, r.Jt, r.Jf)
		b = binary.NativeEndian.AppendUint32(b, r.K)
	}
	return b, nil
}
