//go:build linux

// Command hostile is a plugin that attempts what no plugin must be able to do. Tests also check from outside what it prints, where that is possible.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/parhost/parhost/internal/attempt"
)

func attempts() {
	target, err := attempt.TargetOfEnv()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(3)
	}
	for _, a := range attempt.All(target) {
		fmt.Printf("%s\t%s\n", a.Name, a.Outcome())
	}
}

// show prints the outcome of an attempt.
func show(name string, try func() error) {
	fmt.Printf("%s\t%s\n", name, attempt.Outcome(try()))
}

// descriptors prints the open descriptors and their types.
func descriptors() {
	for fd := range 2048 {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil {
			continue
		}
		var st unix.Stat_t
		_ = unix.Fstat(fd, &st)
		fmt.Printf("%d\t%#o\n", fd, st.Mode&unix.S_IFMT)
	}
}

// status prints the process's user, groups, privileges, folder, arguments and environment.
func status() {
	groups, _ := os.Getgroups()
	fmt.Printf("uid\t%d\ngid\t%d\ngroups\t%v\npid\t%d\n", os.Getuid(), os.Getgid(), groups, os.Getpid())
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var caps [2]unix.CapUserData
	_ = unix.Capget(&head, &caps[0])
	fmt.Printf("capabilities\t%v\n", caps)
	n, _ := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)
	fmt.Printf("no_new_privs\t%d\n", n)
	dir, err := os.Getwd()
	fmt.Printf("folder\t%s %v\n", dir, err)
	fmt.Printf("arguments\t%q\n", os.Args)
	for _, kv := range os.Environ() {
		fmt.Printf("env %s\n", strings.Replace(kv, "=", "\t", 1))
	}
}

// fill writes until a write fails, and prints how many bytes were written.
func fill(folder string) {
	f, err := os.Create(filepath.Join(folder, "fill"))
	if err != nil {
		fmt.Printf("0\t%v\n", err)
		return
	}
	total := 0
	block := bytes.Repeat([]byte{1}, 4096)
	for total < 64<<20 {
		n, err := f.Write(block)
		total += n
		if err != nil {
			fmt.Printf("%d\t%v\n", total, errors.Unwrap(err))
			return
		}
	}
	fmt.Printf("%d\tok\n", total)
}

// fillNames creates files until that fails, and prints how many it created.
func fillNames(folder string) {
	for i := range 100_000 {
		f, err := os.Create(filepath.Join(folder, strconv.Itoa(i)))
		if err != nil {
			fmt.Printf("%d\t%v\n", i, errors.Unwrap(err))
			return
		}
		_ = f.Close()
	}
	fmt.Println("100000\tok")
}

// serve listens as go-plugin does and sends one byte to each client.
func serve() {
	path := filepath.Join(os.Getenv("PLUGIN_UNIX_SOCKET_DIR"), "plugin1")
	l, err := net.Listen("unix", path)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(path)
	for {
		c, err := l.Accept()
		if err != nil {
			os.Exit(1)
		}
		_, _ = c.Write([]byte("!"))
		_ = c.Close()
	}
}

// lure puts things into the socket folder to which a host must not connect.
func lure() {
	dir := os.Getenv("PLUGIN_UNIX_SOCKET_DIR")
	show("symlink", func() error { return os.Symlink(os.Getenv("HOSTILE_FOLDER")+"/open", filepath.Join(dir, "link")) })
	show("file", func() error { return os.WriteFile(filepath.Join(dir, "file"), nil, 0o600) })
	show("folder", func() error { return os.Mkdir(filepath.Join(dir, "folder"), 0o700) })
	wait()
}

func wait() {
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.NewFile(3, "until")) // until the host closes the write end
	for {
		time.Sleep(time.Hour)
	}
}

// cpuTime returns the CPU time that the process has used, in nanoseconds.
func cpuTime() int64 {
	var used unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &used)
	return used.Utime.Nano() + used.Stime.Nano()
}

func init() { runtime.LockOSThread() } // main then runs on the first thread

func main() {
	switch os.Args[1] {
	case "attempts":
		attempts()
	case "descriptors":
		descriptors()
	case "status":
		status()
	case "fill":
		fill(os.Args[2])
	case "fillnames":
		fillNames(os.Args[2])
	case "serve":
		serve()
	case "lure":
		lure()
	case "wait":
		wait()
	case "memory":
		mib, _ := strconv.Atoi(os.Args[2])
		var kept [][]byte
		for range mib {
			kept = append(kept, bytes.Repeat([]byte{1}, 1<<20))
		}
		fmt.Println(len(kept))
	case "written", "stretched", "tables": // take memory that RLIMIT_DATA does not count
		takeUncounted(os.Args[1], os.Args[2])
	case "headless": // like written, after the first thread has ended: its status then shows no memory
		go takeUncounted("written", os.Args[2])
		_, _, _ = syscall.Syscall(unix.SYS_EXIT, 0, 0, 0)
	case "crowded": // like written, with so many groups that the status is long
		groups := make([]int, 4000)
		for i := range groups {
			groups[i] = 1_000_000_000 + i
		}
		if err := syscall.Setgroups(groups); err != nil {
			fmt.Println(attempt.Outcome(err))
			os.Exit(1)
		}
		takeUncounted("written", os.Args[2])
	case "leave": // move to the topmost cgroups and take memory there
		left := 0
		for _, procs := range os.Args[3:] {
			if err := os.WriteFile(procs, []byte("0"), 0); err == nil {
				left++
			}
		}
		fmt.Println(left)
		takeUncounted("written", os.Args[2])
	case "threads":
		attempt.Threads(200)
		fmt.Println("200")
	case "crowd": // keep as many threads as possible
		n, _ := strconv.Atoi(os.Args[2])
		attempt.Threads(n)
		fmt.Println("crowded")
		wait()
	case "forks":
		n, err := attempt.Forks(200)
		if err != nil {
			fmt.Printf("%d\t%s\n", n, attempt.Outcome(err))
			os.Exit(1)
		}
		fmt.Printf("%d\tok\n", n)
	case "spin":
		begun := cpuTime()
		for range 4 {
			go func() {
				for {
				}
			}()
		}
		time.Sleep(2 * time.Second)
		fmt.Println(cpuTime() - begun) // without the time of the start, which came before the limit
	case "escape": // leave a child in its own session that keeps stdout open
		pid, _, errno := syscall.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
		if errno != 0 {
			fmt.Println(unix.ErrnoName(errno))
			os.Exit(1)
		}
		if pid == 0 {
			_, _, _ = syscall.RawSyscall6(unix.SYS_SETSID, 0, 0, 0, 0, 0, 0)
			for {
				_, _, _ = syscall.RawSyscall6(unix.SYS_PPOLL, 0, 0, 0, 0, 0, 0)
			}
		}
		wait()
	case "exit":
		code, _ := strconv.Atoi(os.Args[2])
		os.Exit(code)
	case "panic":
		panic("hostile")
	case "crash":
		_ = unix.Kill(os.Getpid(), unix.SIGSEGV)
		select {}
	case "group":
		_ = unix.Kill(0, unix.SIGKILL)
		select {}
	case "files":
		for _, arg := range os.Args[2:] {
			what, path, _ := strings.Cut(arg, ":")
			switch what {
			case "read":
				show(arg, attempt.Reads(path))
			case "write":
				show(arg, attempt.Opens(path, unix.O_WRONLY))
			case "run": // execute the file in place of this process, by the descriptor that the filter allows; an attempt by name matters more
				show(arg, attempt.Executes(path))
			case "cut":
				show(arg, attempt.Opens(path, unix.O_RDONLY|unix.O_TRUNC))
			case "create":
				show(arg, attempt.Creates(path))
			case "connect":
				show(arg, attempt.Connects("tcp", path))
			}
		}
	}
}

// takeUncounted takes memory, prints how much, and holds it for 5 seconds.
func takeUncounted(how, size string) {
	mib, _ := strconv.Atoi(size)
	n, err := uncounted(how, mib)
	if err != nil {
		fmt.Println(attempt.Outcome(err))
		os.Exit(1)
	}
	time.Sleep(5 * time.Second)
	fmt.Println(n)
	os.Exit(0)
}

// uncounted takes mib MiB of memory: it writes memory and makes it read-only, or stretches a page of the stack, or makes the kernel allocate page
// tables.
func uncounted(how string, mib int) (int, error) {
	const step = 1 << 20
	fill := func(memory []byte) {
		for i := 0; i < len(memory); i += 4096 {
			memory[i] = 1
		}
	}
	if how == "stretched" {
		const mayMove = 1
		// The stack begins below the arguments and has 128 KiB, of which Go uses the upper half.
		page := (uintptr(unsafe.Pointer(unsafe.StringData(os.Args[0]))) - 96<<10) &^ 4095
		at, _, errno := unix.Syscall6(unix.SYS_MREMAP, page, 4096, uintptr(mib*step), mayMove, 0, 0)
		if errno != 0 {
			return 0, errno
		}
		fill(unsafe.Slice(*(**byte)(unsafe.Pointer(&at)), mib*step))
		return mib, nil
	}
	if how == "tables" {
		page := os.Getpagesize()
		reach := page * page / 8 // bytes that one page table, which is one page, covers
		memory, err := unix.Mmap(-1, 0, mib*step/page*reach, unix.PROT_READ, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE)
		if err == nil {
			err = unix.Madvise(memory, unix.MADV_NOHUGEPAGE)
		}
		for i := 0; err == nil && i < len(memory); i += reach {
			if memory[i] != 0 { // reads the zero page, which all processes share
				err = unix.EIO
			}
		}
		return mib, err
	}
	for i := range mib {
		memory, err := unix.Mmap(-1, 0, step, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
		if err != nil {
			return i, err
		}
		fill(memory)
		if err := unix.Mprotect(memory, unix.PROT_READ); err != nil {
			return i, err
		}
	}
	return mib, nil
}
