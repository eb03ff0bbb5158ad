//go:build linux

// Command greedy is a plugin whose items take as much of a resource as they can get, and return how much that was.
package main

import (
	"bytes"
	"context"
	"fmt"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/parhost/parhost/sdk"
)

// item says what to take: "memory", N MiB; "processes", at most N; "cpu", for N milliseconds.
type item struct {
	Take string `json:"take"`
	N    int    `json:"n"`
}

func take(_ context.Context, it item) (string, error) {
	switch it.Take {
	case "memory":
		var kept [][]byte
		for range it.N {
			kept = append(kept, bytes.Repeat([]byte{1}, 1<<20))
		}
		return fmt.Sprintf("%d MiB", len(kept)), nil
	case "processes":
		return processes(it.N), nil
	case "cpu":
		begun, before := time.Now(), used()
		for range 4 {
			go func() {
				for time.Since(begun) < time.Duration(it.N)*time.Millisecond {
				}
			}()
		}
		time.Sleep(time.Duration(it.N) * time.Millisecond)
		return fmt.Sprintf("%.2f of a CPU", float64(used()-before)/float64(time.Since(begun))), nil
	}
	return "", sdk.BadItem(fmt.Errorf("take %q is none of memory, processes, cpu", it.Take))
}

// used returns the CPU time of the process so far.
func used() time.Duration {
	var u unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &u) // cannot fail for the process itself
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// processes starts idle processes until it is refused one or has started most of them, and kills them again.
func processes(most int) string {
	var pids []int
	answer := "all"
	for range most {
		pid, _, errno := syscall.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
		if errno != 0 {
			answer = unix.ErrnoName(errno)
			break
		}
		if pid == 0 {
			for {
				_, _, _ = syscall.RawSyscall6(unix.SYS_PAUSE, 0, 0, 0, 0, 0, 0)
			}
		}
		pids = append(pids, int(pid))
	}
	for _, pid := range pids {
		_ = unix.Kill(pid, unix.SIGKILL) // cannot fail for a child that has not been waited for
		_, _ = unix.Wait4(pid, nil, 0, nil)
	}
	return fmt.Sprintf("%d processes, then %s", len(pids), answer)
}

func main() { sdk.Serve(sdk.Func("greedy", take)) }
