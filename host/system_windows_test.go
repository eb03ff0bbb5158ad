package host_test

import (
	"errors"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/windows"
)

// Parts that a child of the tests plays on Unix alone.
var (
	fakes, hosts, hostsWithoutGuard map[string]func()
)

func nextLie() string { return "" }
func beDaemon(string) { select {} }

func init() {
	systemOrders["kill"] = func(order) (string, error) {
		_ = windows.TerminateProcess(windows.CurrentProcess(), 1)
		select {}
	}
}

func self() (string, error) { return os.Executable() }

func newSession() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{CreationFlags: windows.CREATE_NEW_PROCESS_GROUP}
}

func shortDir(t *testing.T) string { return t.TempDir() }

// kill ends a process.
func kill(t *testing.T, number string) {
	t.Helper()
	pid, err := strconv.Atoi(number)
	if err != nil {
		t.Fatal(err)
	}
	p, err := os.FindProcess(pid)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(p.Kill(), p.Release()); err != nil {
		t.Fatal(err)
	}
}

// waitGone waits until a process has ended.
func waitGone(t *testing.T, what string, pid int, limit time.Duration) {
	t.Helper()
	h, err := windows.OpenProcess(windows.SYNCHRONIZE, false, uint32(pid))
	if errors.Is(err, windows.ERROR_INVALID_PARAMETER) {
		return // there is none of this number
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = windows.CloseHandle(h) }()
	if event, err := windows.WaitForSingleObject(h, uint32(limit.Milliseconds())); event != windows.WAIT_OBJECT_0 {
		t.Errorf("%s: got %#x and %v after %v, want process %d gone", what, event, err, limit, pid)
	}
}
