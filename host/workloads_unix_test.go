//go:build unix

package host_test

import (
	"bytes"
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

func init() {
	workloads = append(workloads, handle, placed, batchCrash, decodeCrash)
	systemOrders["kill"] = func(order) (string, error) {
		_ = unix.Kill(os.Getpid(), unix.SIGKILL)
		select {}
	}
	systemOrders["stop"] = func(order) (string, error) { // what only another process can end
		_ = unix.Kill(os.Getpid(), unix.SIGSTOP)
		select {}
	}
	systemOrders["close"] = func(order) (string, error) { // all files, whosoever they are
		for fd := range 1 << 10 {
			_ = unix.Close(fd)
		}
		select {}
	}
	systemOrders["garble"] = func(o order) (string, error) { // what the host reads of it, once it has printed that it begins
		fmt.Fprintln(os.Stderr, "begun")
		for fd := 3; fd < 1<<10; fd++ {
			_, _ = unix.Write(fd, bytes.Repeat([]byte("garbage"), 30))
		}
		time.Sleep(time.Duration(o.N) * time.Millisecond)
		return "", nil
	}
	systemOrders["bequeath"] = func(o order) (string, error) { // all files, to a process that nobody knows, and exits
		for fd := range 1 << 10 {
			_, _ = unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0)
		}
		_, err := syscall.ForkExec("/bin/sleep", []string{"sleep", "60"}, &syscall.ProcAttr{Env: []string{}, Files: []uintptr{0, 1, 2}, Sys: newSession()})
		if err != nil {
			return "", err
		}
		os.Exit(o.N)
		return "", nil
	}
	systemOrders["memory"] = func(order) (string, error) {
		debug.SetGCPercent(-1) // it starts threads, and what cannot start a thread for want of memory has other words for that
		limit := unix.Rlimit{Cur: 1 << 30, Max: 1 << 30}
		if err := unix.Setrlimit(unix.RLIMIT_AS, &limit); err != nil {
			return "", err
		}
		var hoard [][]byte
		for {
			hoard = append(hoard, bytes.Repeat([]byte{byte(len(hoard))}, 64<<20))
		}
	}
	systemOrders["print raw"] = func(o order) (string, error) { // past os.Stdout, as a C library would
		n, err := unix.Write(1, bytes.Repeat([]byte("x"), o.N))
		return strconv.Itoa(n), err
	}
	// It leaves a process behind that is in no group and no session of the worker's, and nobody's child.
	systemOrders["daemon"] = func(o order) (string, error) { return daemon(o.S) }
}
