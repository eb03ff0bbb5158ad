package host_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/host/sandbox"
)

// How many processes a chain has, if nobody ends it: it goes on for longer than a pool takes to close.
const (
	executedLinks = 3_000
	forkedLinks   = 20_000
)

func init() {
	systemDaemons["executes"], systemDaemons["forks"] = beExecuted, beForked
	systemOrders["chain"] = func(o order) (string, error) { // the worker lives on
		exe, err := self()
		if err != nil {
			return "", err
		}
		cmd := exec.Command(exe)
		cmd.Env = append(os.Environ(), daemonEnv+"="+o.S, raceKey+"="+raceValue, selfEnv+"="+exe)
		cmd.SysProcAttr = newSession()
		if held, err := os.OpenFile(os.Getenv(heldEnv), os.O_WRONLY, 0); err == nil {
			cmd.ExtraFiles = []*os.File{held}
		}
		return "", cmd.Run()
	}
}

// heldEnv is a fifo that a chain keeps open for writing, where it can.
const heldEnv = "PARHOST_TEST_HELD"

// chainEnv counts the links of a chain that are to come.
const chainEnv = "PARHOST_TEST_CHAIN"

// beForked goes on in a child, with all marks of this process, again and again. What happens between two calls of the kernel no scheduler of
// Go's may interrupt.
func beForked() {
	for range forkedLinks {
		child, _, _ := unix.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
		if child != 0 {
			break
		}
	}
	_, _, _ = unix.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
}

// beExecuted executes the next link, with all marks of this one, and ends.
func beExecuted() {
	left := executedLinks
	_, _ = fmt.Sscan(os.Getenv(chainEnv), &left)
	if left == 0 {
		return
	}
	exe, err := self()
	if err != nil {
		panic(err)
	}
	files := []uintptr{0, 1, 2}
	if _, err := os.Stat(os.Getenv(heldEnv)); err == nil {
		files = append(files, 3)
	}
	_, err = syscall.ForkExec(exe, []string{exe}, &syscall.ProcAttr{
		Env: append(os.Environ(), fmt.Sprintf("%s=%d", chainEnv, left-1)), Files: files,
	})
	if err != nil {
		panic(err)
	}
}

// What a worker has left behind may start another and end, again and again: it ends with its pool all the same.
func TestAChainOfProcessesEndsWithThePool(t *testing.T) {
	atLevels(t, allLevels, func(t *testing.T, policy sandbox.Policy) {
		for _, how := range []string{"executes", "forks"} {
			for _, age := range []time.Duration{0, 300 * time.Millisecond} {
				t.Run(fmt.Sprintf("%s, a pool of %v", how, age), func(t *testing.T) { endsWithItsPool(t, policy, how, age) })
			}
		}
	})
}

// endsWithItsPool closes a pool of a certain age, one of whose workers has begun a chain.
func endsWithItsPool(t *testing.T, policy sandbox.Policy, how string, age time.Duration) {
	t.Helper()
	var log bytes.Buffer
	mark, env := newMark()
	fifo := shortDir(t) + "/held"
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	held, err := os.OpenFile(fifo, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	cfg := host.Config{Workload: chaos, Workers: 1, Sandbox: policy, Env: []string{env, heldEnv + "=" + fifo}, Logger: hclog.New(&hclog.LoggerOptions{Output: &log, Level: hclog.Warn})}
	letFork(t, &cfg)
	p := open(t, cfg)
	if _, err := value(typed[order, string](p).Do(t.Context(), order{Do: "chain", S: how})); err != nil {
		t.Fatal(err)
	}
	opened := time.Now()
	poll(t, "the pool's age", func() bool { return time.Since(opened) >= age })
	within(t, "Close", 15*time.Second, func() { p.Close() })
	if err := held.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, err := held.Read(make([]byte, 1)); !errors.Is(err, io.EOF) { // walls keep the chain from the fifo; then this says nothing
		t.Errorf("what the chain holds: got %v, want that nobody has it", err)
	}
	checkGone(t, mark)
	if log.Len() > 0 {
		t.Errorf("log: got %q, want nothing", log.String())
	}
}
