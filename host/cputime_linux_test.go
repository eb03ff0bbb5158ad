package host_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

func init() {
	// Go programs ignore SIGXCPU. This one restores the default action, so the signal ends it, as it does programs in other languages.
	systemOrders["spin until SIGXCPU"] = func(o order) (string, error) {
		var byDefault [4]uint64 // a struct sigaction of the kernel's with SIG_DFL
		if _, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(unix.SIGXCPU), uintptr(unsafe.Pointer(&byDefault)), 0, 8, 0, 0); errno != 0 {
			return "", errors.New(errno.Error())
		}
		return misbehave(context.Background(), order{Do: "spin", S: o.S})
	}
	// The limit is the worker's own, and its host knows nothing of it.
	systemOrders["spin until SIGXCPU of its own"] = func(o order) (string, error) {
		var limit unix.Rlimit
		if err := unix.Getrlimit(unix.RLIMIT_CPU, &limit); err != nil {
			return "", err
		}
		limit.Cur = 1
		if err := unix.Setrlimit(unix.RLIMIT_CPU, &limit); err != nil {
			return "", err
		}
		return systemOrders["spin until SIGXCPU"](o)
	}
}

// The kernel sends SIGXCPU at the soft limit of CPU time and SIGKILL at the hard limit. The item that used the time is to blame.
func TestADeathAtALimitOfCPUTimeNamesTheLimit(t *testing.T) {
	for name, c := range map[string]struct{ limit, item, want string }{
		"hard":    {"ulimit -t 2", "spin", "of CPU time, the limit is 2s (ulimit -t)"},
		"soft":    {"ulimit -St 1", "spin until SIGXCPU", "of CPU time, the soft limit is 1s (RLIMIT_CPU, ulimit -St)"},
		"its own": {"true", "spin until SIGXCPU of its own", "it reached a limit of its CPU time (RLIMIT_CPU)"},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := under(t, c.limit, hostCommand(t, "fragile"))
			cmd.Env = append(cmd.Env, "FRAGILE_MODE=process", "FRAGILE_ITEM="+c.item)
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("the host: got %v: %s", err, out)
			}
			if got := string(out); !strings.Contains(got, "item 50: crashed: ") || !strings.Contains(got, c.want) || strings.Contains(got, "somebody else") {
				t.Errorf("got %q, want item 50 to have crashed, and %q", got, c.want)
			}
		})
	}
}
