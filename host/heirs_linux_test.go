package host_test

import (
	"context"
	"errors"
	"maps"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/parhost/parhost/host"
)

func init() {
	maps.Copy(fakes, map[string]func(){
		"leaves its connection at the set-up": grpcByHand{opened: func(*handmade, uint32) error {
			heir()
			os.Exit(7)
			return nil
		}}.serve,
		"leaves a connection that nobody reads": grpcByHand{
			opened: func(h *handmade, stream uint32) error {
				const room = 1 << 30
				return errors.Join(h.WriteWindowUpdate(0, room), h.WriteWindowUpdate(stream, room), h.ready(stream))
			},
			told: func(*handmade, []byte) error {
				heir()
				select {}
			},
		}.serve,
	})
}

// heir starts a process that has all files of this one. No host finds it: it has taken off both of its marks, and bears that of a test alone.
func heir() {
	limit := unix.Rlimit{Cur: 1 << 50, Max: 1 << 50}
	if err := unix.Setrlimit(unix.RLIMIT_RTTIME, &limit); err != nil {
		panic(err)
	}
	for fd := range 1 << 10 {
		_, _ = unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0)
	}
	_, err := syscall.ForkExec("/bin/sleep", []string{"sleep", "600"}, &syscall.ProcAttr{
		Env: []string{markEnv + "=" + os.Getenv(markEnv)}, Files: []uintptr{0, 1, 2}, Sys: newSession(),
	})
	if err != nil {
		panic(err)
	}
}

// withHeirs is the config of a pool of a plugin whose heirs end with the test.
func withHeirs(t *testing.T, name string) host.Config {
	t.Helper()
	mark, env := newMark()
	t.Cleanup(func() {
		for pid := range marked(t, mark) {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
	})
	cfg := fake(t, name)
	cfg.Env = append(cfg.Env, env)
	return cfg
}

func TestAnHeirOfAConnectionDoesNotHoldUpAStart(t *testing.T) {
	cfg := withHeirs(t, "leaves its connection at the set-up")
	within(t, "Open", 5*time.Second, func() {
		_, err := host.Open(t.Context(), cfg)
		if e, ok := errors.AsType[*host.StartError](err); !ok || e.Stage != "set-up" || !strings.Contains(e.Err.Error(), "exit code 7") {
			t.Errorf("Open: got %v, want a StartError at stage set-up with exit code 7", err)
		}
	})
}

func TestAnHeirOfAConnectionDoesNotHoldUpAKill(t *testing.T) {
	cfg := withHeirs(t, "leaves a connection that nobody reads")
	p := open(t, cfg)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	within(t, "Do for a second", 4*time.Second, func() {
		if _, err := host.Do[string, int](ctx, p, strings.Repeat("x", 3_000_000)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Do: got %v, want a deadline error", err)
		}
	})
	within(t, "Close", 3*time.Second, func() { p.Close() })
}
