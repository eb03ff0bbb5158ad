//go:build linux

package attempt

import (
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Target is what belongs to a host and must be out of its workers' reach.
type Target struct {
	PID      int    // process id of the host
	Place    int    // descriptor number by which a sandbox executes a program
	Folder   string // writable for everybody, with a file "secret" that everybody can read, and a socket "open"
	TCP      string // address of a server
	Abstract string // name of an abstract socket
	Sockets  string // folder of the plugin's own socket, which only the plugin knows
}

// OpenTarget makes a target, in a folder that everybody can write to. The returned function closes its servers.
func OpenTarget(folder string) (t Target, stop func(), err error) {
	t = Target{PID: os.Getpid(), Place: 1024, Folder: folder, Abstract: "parhost-test-" + strconv.Itoa(os.Getpid())}
	if err := os.WriteFile(folder+"/secret", []byte("secret"), 0o644); err != nil {
		return t, nil, err
	}
	var open []net.Listener
	stop = func() {
		for _, l := range open {
			_ = l.Close()
		}
	}
	for _, at := range []struct{ network, address string }{{"tcp", "127.0.0.1:0"}, {"unix", "@" + t.Abstract}, {"unix", folder + "/open"}} {
		l, err := net.Listen(at.network, at.address)
		if err != nil {
			stop()
			return t, nil, err
		}
		open = append(open, l)
	}
	if err := os.Chmod(folder+"/open", 0o777); err != nil {
		stop()
		return t, nil, err
	}
	t.TCP = open[0].Addr().String()
	return t, stop, nil
}

// Env returns the environment variables that describe the target to a worker.
func (t Target) Env() []string {
	return []string{
		"HOSTILE_PID=" + strconv.Itoa(t.PID), "HOSTILE_PLACE=" + strconv.Itoa(t.Place), "HOSTILE_FOLDER=" + t.Folder,
		"HOSTILE_TCP=" + t.TCP, "HOSTILE_ABSTRACT=" + t.Abstract,
	}
}

// TargetOfEnv returns the target that the variables of [Target.Env] describe.
func TargetOfEnv() (t Target, err error) {
	t.Folder, t.TCP, t.Abstract = os.Getenv("HOSTILE_FOLDER"), os.Getenv("HOSTILE_TCP"), os.Getenv("HOSTILE_ABSTRACT")
	t.Sockets = os.Getenv("PLUGIN_UNIX_SOCKET_DIR")
	if t.PID, err = strconv.Atoi(os.Getenv("HOSTILE_PID")); err != nil {
		return t, err
	}
	t.Place, err = strconv.Atoi(os.Getenv("HOSTILE_PLACE"))
	return t, err
}

// Attempt is something that a plugin tries. Errors in tolerated count as success: they mean that the kernel has examined the call.
type Attempt struct {
	Name      string
	try       func() error
	tolerated []unix.Errno
}

// Outcome makes the attempt, and returns "ok" or the name of the error.
func (a *Attempt) Outcome() string { return Outcome(a.try(), a.tolerated...) }

// Outcome returns "ok" if err is nil or tolerated, and otherwise the name of the error.
func Outcome(err error, tolerated ...unix.Errno) string {
	for _, t := range tolerated {
		if errors.Is(err, t) {
			err = nil
		}
	}
	if err == nil {
		return "ok"
	}
	if errno, ok := errors.AsType[unix.Errno](err); ok {
		return unix.ErrnoName(errno)
	}
	return err.Error()
}

// Forks makes idle processes until it has made most of them, or one cannot be made. The caller must kill them.
func Forks(most int) (n int, err error) {
	for ; n < most; n++ {
		if errno := forkIdle(); errno != 0 {
			return n, errno
		}
	}
	return n, nil
}

// Threads makes n threads that wait forever.
func Threads(n int) {
	started := make(chan struct{})
	for range n {
		go func() {
			runtime.LockOSThread()
			started <- struct{}{}
			select {}
		}()
		<-started
	}
}

// forkIdle makes a process that waits to be killed. The race detector must not instrument it, because a forked process has only one thread.
//
//go:norace
func forkIdle() syscall.Errno {
	pid, _, errno := syscall.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	if errno == 0 && pid == 0 {
		_, _, _ = syscall.RawSyscall(unix.SYS_CLOSE, 1, 0, 0) // so that a reader of the other end waits only for the parent
		_, _, _ = syscall.RawSyscall(unix.SYS_CLOSE, 2, 0, 0)
		for {
			_, _, _ = syscall.RawSyscall6(unix.SYS_PPOLL, 0, 0, 0, 0, 0, 0)
		}
	}
	return errno
}

var scratch [4096]byte

func address[T any](p *T) uintptr { return uintptr(unsafe.Pointer(p)) }

func call(number uintptr, args ...uintptr) error {
	var a [6]uintptr
	copy(a[:], args)
	if _, _, errno := unix.Syscall6(number, a[0], a[1], a[2], a[3], a[4], a[5]); errno != 0 {
		return errno
	}
	return nil
}

// Reads opens a file and reads from it.
func Reads(path string) func() error {
	return func() error {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = f.Read(scratch[:])
		if errors.Is(err, io.EOF) {
			err = nil
		}
		return err
	}
}

// Opens opens a file with these flags, and creates it with this mode.
func Opens(path string, flags int, mode ...uint32) func() error {
	return func() error {
		fd, err := unix.Open(path, flags|unix.O_CLOEXEC, append(mode, 0)[0])
		if err == nil {
			_ = unix.Close(fd)
		}
		return err
	}
}

// Creates makes a file, writes to it and removes it.
func Creates(path string) func() error {
	return func() error {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		defer func() { _ = os.Remove(path) }()
		defer f.Close()
		_, err = f.Write([]byte("x"))
		return err
	}
}

// wide puts an int into the low 32 bits of an argument, which are all that the kernel uses. The high bits are the number of a system call that is
// allowed if its third argument is 0. A filter that wrongly compares these bits with numbers of system calls lets everything pass.
func wide(n int) uintptr { return uintptr(uint64(unix.SYS_PRLIMIT64)<<32 | uint64(uint32(n))) }

// noAccess opens a file for neither reading nor writing, provided that both are permitted (open(2), "O_ACCMODE").
const noAccess = unix.O_RDONLY | unix.O_WRONLY | unix.O_RDWR

// dnModify is DN_MODIFY (linux/fcntl.h).
const dnModify = 2

// ofFile opens a file and calls do with its descriptor.
func ofFile(path string, flags int, do func(fd int) error) error {
	fd, err := unix.Open(path, flags|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	return do(fd)
}

// ofOpen opens a file and makes one call of fcntl(2) on it.
func ofOpen(path string, flags, command, argument int) error {
	return ofFile(path, flags, func(fd int) error {
		_, err := unix.FcntlInt(uintptr(fd), command, argument)
		return err
	})
}

// takesMemory maps memory with additional flags.
func takesMemory(flags int) func() error {
	return func() error {
		m, err := unix.Mmap(-1, 0, 1<<21, unix.PROT_READ, unix.MAP_PRIVATE|unix.MAP_ANON|flags)
		if err != nil {
			return err
		}
		return unix.Munmap(m)
	}
}

// timers makes more timers than a process needs. They also count against the limit of the user who made the process's user namespace.
func timers() error {
	const many = 3000
	var ids [many]int32
	made := 0
	defer func() {
		for _, id := range ids[:made] {
			_, _, _ = unix.Syscall(unix.SYS_TIMER_DELETE, uintptr(id), 0, 0)
		}
	}()
	for ; made < many; made++ {
		if _, _, errno := unix.Syscall(unix.SYS_TIMER_CREATE, unix.CLOCK_MONOTONIC, 0, address(&ids[made])); errno != 0 {
			return errno
		}
	}
	return nil
}

// Executes executes another program by the one call that a sandbox allows. With an absolute path the kernel ignores the descriptor. The arguments
// tell the program to exit with code 7.
func Executes(path string) func() error {
	return func() error {
		place, err := strconv.Atoi(os.Getenv("HOSTILE_PLACE"))
		if err != nil {
			return err
		}
		argv, err := syscall.SlicePtrFromStrings([]string{path, "exit", "7"})
		if err != nil {
			return err
		}
		return call(unix.SYS_EXECVEAT, uintptr(place), uintptr(unsafe.Pointer(argv[0])), uintptr(unsafe.Pointer(&argv[0])), 0, unix.AT_EMPTY_PATH)
	}
}

func makesSocket(domain, kind, protocol int) func() error {
	return func() error {
		fd, err := unix.Socket(domain, kind|unix.SOCK_CLOEXEC, protocol)
		if err == nil {
			_ = unix.Close(fd)
		}
		return err
	}
}

// Connects connects to a server.
func Connects(network, address string) func() error {
	return func() error {
		c, err := net.DialTimeout(network, address, time.Second)
		if err == nil {
			_ = c.Close()
		}
		return err
	}
}

// forks makes a process that exits at once.
func forks(flags uintptr) func() error {
	return func() error {
		pid, _, errno := syscall.RawSyscall6(unix.SYS_CLONE, flags|uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
		if errno != 0 {
			return errno
		}
		if pid == 0 {
			for {
				_, _, _ = syscall.RawSyscall6(unix.SYS_EXIT_GROUP, 0, 0, 0, 0, 0, 0)
			}
		}
		_, err := unix.Wait4(int(pid), nil, 0, nil)
		return err
	}
}

// ofPair tries something with one end of a pair of sockets.
func ofPair(try func(socket int) error) func() error {
	return func() error {
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		if err != nil {
			return err
		}
		defer func() { _, _ = unix.Close(pair[0]), unix.Close(pair[1]) }()
		return try(pair[0])
	}
}

// tell adds one attempt to a list.
type tell func(name string, try func() error, tolerated ...unix.Errno)

// All returns the attempts on a target.
func All(t Target) []Attempt {
	signal.Ignore(unix.SIGXFSZ) // so that a file beyond the size limit causes an error instead of a signal
	var all []Attempt
	var attempt tell = func(name string, try func() error, tolerated ...unix.Errno) {
		all = append(all, Attempt{name, try, tolerated})
	}
	for _, tries := range []func(Target, tell){onFiles, onCounts, onSockets, onProcesses, onPrograms, onRights, onKernel} {
		tries(t, attempt)
	}
	foreign(attempt)
	return all
}

// onFiles tries to read and change files of the host.
func onFiles(t Target, attempt tell) {
	host, folder := t.PID, t.Folder
	attempt("read a file of the host", Reads(folder+"/secret"))
	attempt("read /etc/passwd", Reads("/etc/passwd"))
	attempt("list /", func() error { _, err := os.ReadDir("/"); return err })
	attempt("read the host's environment", Reads(fmt.Sprintf("/proc/%d/environ", host)))
	attempt("read the machine's processes", Reads("/proc/1/stat"))
	attempt("write a file of the host", Creates(folder+"/written"))
	attempt("write beside the socket", Creates(filepath.Join(t.Sockets, "written")))
	attempt("write in /dev", Creates("/dev/shm/parhost-hostile"))
	attempt("chmod a file of the host", func() error { return os.Chmod(folder+"/secret", 0o604) })
	attempt("truncate a file of the host", func() error { return unix.Truncate(folder+"/secret", 6) })
	attempt("truncate a file of the host as it opens it", Opens(folder+"/secret", noAccess|unix.O_TRUNC))
	attempt("attributes of a file of the host", func() error {
		_, err := unix.Getxattr(folder+"/secret", "user.none", scratch[:])
		return err
	}, unix.ENODATA, unix.ENOTSUP)
	attempt("lease on a file of the host", func() error { // a process that opens the file then waits for up to 45 s
		return ofOpen(folder+"/secret", noAccess, unix.F_SETLEASE, unix.F_RDLCK)
	})
	attempt("be told of changes in a folder of the host", func() error {
		return ofOpen(folder, unix.O_RDONLY, unix.F_NOTIFY, dnModify)
	})
	attempt("replace its own program", Opens("/proc/self/exe", unix.O_WRONLY), unix.ETXTBSY)
}

// onCounts tries to take resources that no limit counts, and to leave behind files that act with another user's rights.
func onCounts(t Target, attempt tell) {
	attempt("a file of another user's rights", func() error {
		path := filepath.Join(t.Sockets, "set-id")
		defer func() { _ = os.Remove(path) }()
		return Opens(path, unix.O_CREAT|unix.O_WRONLY, 0o4755)()
	})
	attempt("room on the disk beside its files", func() error {
		path := filepath.Join(t.Sockets, "room")
		fd, err := unix.Open(path, unix.O_CREAT|unix.O_WRONLY|unix.O_CLOEXEC, 0o600)
		if err != nil {
			return err
		}
		defer func() { _, _ = unix.Close(fd), os.Remove(path) }()
		return unix.Fallocate(fd, unix.FALLOC_FL_KEEP_SIZE, 0, 1<<16)
	})
	attempt("a hole in a file", func() error {
		path := filepath.Join(t.Sockets, "hole")
		fd, err := unix.Open(path, unix.O_CREAT|unix.O_WRONLY|unix.O_CLOEXEC, 0o600)
		if err != nil {
			return err
		}
		defer func() { _, _ = unix.Close(fd), os.Remove(path) }()
		return unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, 1<<16)
	})
	attempt("a hole in shared memory", func() error {
		memory, err := unix.Mmap(-1, 0, 1<<16, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANONYMOUS)
		if err != nil {
			return err
		}
		defer func() { _ = unix.Munmap(memory) }()
		return unix.Madvise(memory, unix.MADV_REMOVE)
	})
	attempt("poll one socket a hundred times", func() error {
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer func() { _, _ = unix.Close(pair[0]), unix.Close(pair[1]) }()
		_, err = unix.Poll(slices.Repeat([]unix.PollFd{{Fd: int32(pair[0]), Events: unix.POLLPRI}}, 100), 0)
		return err
	})
	attempt("select among a hundred descriptors", func() error {
		_, err := unix.Select(100, nil, nil, nil, &unix.Timeval{})
		return err
	})
	attempt("lock what others lock", func() error {
		return ofFile("/dev/null", unix.O_RDONLY, func(fd int) error { return unix.Flock(fd, unix.LOCK_SH) })
	})
	attempt("a larger pipe", func() error {
		var p [2]int
		if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
			return err
		}
		defer func() { _, _ = unix.Close(p[0]), unix.Close(p[1]) }()
		_, err := unix.FcntlInt(uintptr(p[0]), unix.F_SETPIPE_SZ, 1<<17)
		return err
	})
	attempt("watch files", func() error {
		fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
		if err == nil {
			_ = unix.Close(fd)
		}
		return err
	})
	attempt("thousands of timers", timers)
	attempt("memory that grows by itself", takesMemory(unix.MAP_GROWSDOWN))
	attempt("huge pages", takesMemory(unix.MAP_HUGETLB), unix.ENOMEM)
}

// onSockets tries to reach others through sockets.
func onSockets(t Target, attempt tell) {
	folder := t.Folder
	attempt("connect to tcp of the host", Connects("tcp", t.TCP))
	attempt("tcp socket", makesSocket(unix.AF_INET, unix.SOCK_STREAM, 0))
	attempt("listen on tcp", func() error {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err == nil {
			_ = l.Close()
		}
		return err
	})
	attempt("udp socket", makesSocket(unix.AF_INET, unix.SOCK_DGRAM, 0))
	attempt("udp socket, with bits that the kernel does not look at", func() error {
		fd, _, errno := unix.Syscall(unix.SYS_SOCKET, wide(unix.AF_INET), unix.SOCK_DGRAM, 0)
		if errno != 0 {
			return errno
		}
		return unix.Close(int(fd))
	})
	attempt("netlink socket", makesSocket(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE))
	attempt("packet socket", makesSocket(unix.AF_PACKET, unix.SOCK_RAW, 0))
	attempt("vsock socket", makesSocket(unix.AF_VSOCK, unix.SOCK_STREAM, 0))
	attempt("mptcp socket", makesSocket(unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_MPTCP))
	attempt("crypto socket", makesSocket(unix.AF_ALG, unix.SOCK_SEQPACKET, 0))
	attempt("connect to an abstract socket", Connects("unix", "@"+t.Abstract))
	attempt("connect to a socket in a folder", Connects("unix", folder+"/open"))
	attempt("datagram pair", func() error {
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM, 0)
		if err == nil {
			_, _ = unix.Close(pair[0]), unix.Close(pair[1])
		}
		return err
	})
}

// onProcesses tries to reach other processes.
func onProcesses(t Target, attempt tell) {
	host := t.PID
	attempt("signal the host", func() error { return unix.Kill(host, 0) })
	attempt("signal the host, with bits that the kernel does not look at", func() error { return call(unix.SYS_KILL, wide(host), 0, 0) })
	attempt("signal everybody", func() error { return unix.Kill(-1, 0) })
	attempt("signal a thread of the host", func() error { return unix.Tgkill(host, host, 0) })
	attempt("a descriptor that signals the host", func() error { // by the signal that F_SETSIG would set, when there is something to read
		return ofOpen("/dev/null", unix.O_RDONLY, unix.F_SETOWN, host)
	})
	attempt("pidfd of the other end", ofPair(func(socket int) error { // of the worker's own connection, the other end is the host
		fd, err := unix.GetsockoptInt(socket, unix.SOL_SOCKET, unix.SO_PEERPIDFD)
		if err == nil {
			_ = unix.Close(fd)
		}
		return err
	}), unix.ENOPROTOOPT)
	attempt("a filter of packets", ofPair(func(socket int) error {
		all := unix.SockFilter{Code: unix.BPF_RET, K: math.MaxUint32}
		return unix.SetsockoptSockFprog(socket, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &all})
	}))
	attempt("pidfd of the host", func() error {
		fd, err := unix.PidfdOpen(host, 0)
		if err == nil {
			_ = unix.Close(fd)
		}
		return err
	})
	attempt("read the host's memory", func() error {
		local := []unix.Iovec{{Base: &scratch[0], Len: 8}}
		_, err := unix.ProcessVMReadv(host, local, []unix.RemoteIovec{{Base: 8, Len: 8}}, 0)
		return err
	}, unix.EFAULT)
	attempt("trace the host", func() error {
		const seize = 0x4206
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		return call(unix.SYS_PTRACE, seize, uintptr(host), 0, 0)
	})
}

// onPrograms tries to start processes and to execute other programs.
func onPrograms(t Target, attempt tell) {
	attempt("fork", forks(0))
	attempt("new user namespace", forks(unix.CLONE_NEWUSER))
	attempt("clone3", func() error { return call(unix.SYS_CLONE3, 0, 0) }, unix.EINVAL, unix.EFAULT)
	name := []byte("/nothing\x00")
	attempt("execve", func() error { return call(unix.SYS_EXECVE, address(&name[0]), 0, 0) }, unix.ENOENT)
	attempt("execveat", func() error { return call(unix.SYS_EXECVEAT, ^uintptr(99), address(&name[0]), 0, 0, 0) }, unix.ENOENT)
	attempt("another program where its own is", func() error { // with an absolute path the kernel ignores the descriptor
		return call(unix.SYS_EXECVEAT, uintptr(t.Place), address(&name[0]), 0, 0, unix.AT_EMPTY_PATH)
	}, unix.ENOENT)
	attempt("a thread with descriptors of its own", func() error { // the flags lack what every thread needs, so that no thread is made
		return call(unix.SYS_CLONE, unix.CLONE_THREAD, 0, 0, 0, 0)
	}, unix.EINVAL)
	attempt("a thread with descriptors of its own, by closing some", func() error { // no descriptor of the range is open
		runtime.LockOSThread() // never unlocked
		return call(unix.SYS_CLOSE_RANGE, math.MaxInt32-1, math.MaxInt32, unix.CLOSE_RANGE_UNSHARE)
	})
	attempt("a descriptor where its program was", func() error {
		err := unix.Dup3(0, t.Place, unix.O_CLOEXEC)
		_ = unix.Close(t.Place)
		return err
	})
	attempt("memory that can be executed by name", func() error {
		fd, err := unix.MemfdCreate("x", 0)
		if err == nil {
			_ = unix.Close(fd)
		}
		return err
	})
}

// onRights tries to get rights that the worker was not given.
func onRights(t Target, attempt tell) {
	host, folder := t.PID, t.Folder
	attempt("mount", func() error {
		err := unix.Mount("x", folder, "tmpfs", 0, "")
		if err == nil {
			_ = unix.Unmount(folder, unix.MNT_DETACH)
		}
		return err
	})
	attempt("open_tree", func() error {
		fd, err := unix.OpenTree(unix.AT_FDCWD, "/", unix.OPEN_TREE_CLOEXEC)
		if err == nil {
			_ = unix.Close(fd)
		}
		return err
	})
	attempt("chroot", func() error { return unix.Chroot("/") })
	attempt("unshare", func() error { // of System V semaphore adjustments, which every user may do
		runtime.LockOSThread() // never unlocked
		return unix.Unshare(unix.CLONE_SYSVSEM)
	})
	attempt("setns", func() error { return unix.Setns(0, 0) }, unix.EINVAL)
	attempt("fifo", func() error {
		path := folder + "/fifo"
		err := unix.Mkfifo(path, 0o600)
		_ = os.Remove(path)
		return err
	})
	attempt("sethostname", func() error {
		h, err := os.Hostname()
		if err != nil {
			return err
		}
		return unix.Sethostname([]byte(h))
	})
	attempt("become another user", func() error {
		_, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, ^uintptr(0), 65533, ^uintptr(0)) // affects only this thread
		if errno != 0 {
			return errno
		}
		_, _, errno = unix.RawSyscall(unix.SYS_SETRESUID, ^uintptr(0), 0, ^uintptr(0))
		if errno != 0 {
			return errno
		}
		return nil
	})
	attempt("raise a limit", func() error {
		var r unix.Rlimit
		if err := unix.Prlimit(0, unix.RLIMIT_CORE, nil, &r); err != nil {
			return err
		}
		return unix.Prlimit(0, unix.RLIMIT_CORE, &r, nil)
	})
	attempt("priority", func() error {
		raw, err := unix.Getpriority(unix.PRIO_PROCESS, 0) // the system call returns 20 - nice
		if err != nil {
			return err
		}
		return unix.Setpriority(unix.PRIO_PROCESS, 0, 20-raw) // the present value, the only one allowed to every user: the tests may run under nice
	})
	attempt("affinity of the host", func() error {
		var set unix.CPUSet
		if err := unix.SchedGetaffinity(host, &set); err != nil {
			return err
		}
		return unix.SchedSetaffinity(host, &set)
	})
	attempt("survive the host", func() error {
		var was int
		if err := unix.Prctl(unix.PR_GET_PDEATHSIG, address(&was), 0, 0, 0); err != nil {
			return err
		}
		return unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(was), 0, 0, 0)
	})
	attempt("dumpable", func() error { return unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0) })
}

// onKernel makes system calls that few programs need.
func onKernel(_ Target, attempt tell) {
	attempt("bpf", func() error { return call(unix.SYS_BPF, 0, 0, 0) }, unix.EINVAL, unix.EFAULT)
	attempt("keyctl", func() error { return call(unix.SYS_KEYCTL, 0, ^uintptr(2), 0) })
	attempt("add_key", func() error { return call(unix.SYS_ADD_KEY, 0, 0, 0, 0, 0) }, unix.EFAULT)
	attempt("perf_event_open", func() error { return call(unix.SYS_PERF_EVENT_OPEN, 0, 0, 0, 0, 0) }, unix.EFAULT, unix.EINVAL)
	attempt("io_uring_setup", func() error { return call(unix.SYS_IO_URING_SETUP, 0, 0) }, unix.EFAULT, unix.EINVAL)
	attempt("userfaultfd", func() error { return call(unix.SYS_USERFAULTFD, ^uintptr(0)) }, unix.EINVAL)
	attempt("open_by_handle_at", func() error { return call(unix.SYS_OPEN_BY_HANDLE_AT, 0, 0, 0) }, unix.EFAULT)
	attempt("kexec_load", func() error { return call(unix.SYS_KEXEC_LOAD, 0, 1000, 0, 0) }, unix.EINVAL)
	attempt("reboot", func() error { return call(unix.SYS_REBOOT, 1, 2, 3, 0) }, unix.EINVAL)
	attempt("seccomp", func() error { return call(unix.SYS_SECCOMP, 99, 0, 0) }, unix.EINVAL)
	attempt("splice", func() error { return call(unix.SYS_SPLICE, 99, 0, 98, 0, 1, 0) }, unix.EBADF)
	attempt("tee", func() error { return call(unix.SYS_TEE, 99, 98, 1, 0) }, unix.EBADF)
	attempt("sendfile", func() error { return call(unix.SYS_SENDFILE, 99, 98, 0, 1) }, unix.EBADF)
	attempt("vmsplice", func() error { return call(unix.SYS_VMSPLICE, 99, 0, 0, 0) }, unix.EBADF)
	attempt("shared memory", func() error { return call(unix.SYS_SHMGET, 0, 0, 0) }, unix.EINVAL)
	attempt("TIOCSTI", func() error { return call(unix.SYS_IOCTL, 0, unix.TIOCSTI, address(&scratch)) }, unix.ENOTTY)
}
