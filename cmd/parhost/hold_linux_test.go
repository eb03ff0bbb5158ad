package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/parhost/parhost/internal/attempt"
	"github.com/parhost/parhost/sdk"
)

// holding is an item of the workload hold.
type holding struct {
	How    string `json:"how"`
	Report string `json:"report"`
}

func init() {
	holdIfAsked = attempt.HoldIfAsked
	testWorkloads = append(testWorkloads, sdk.Func("hold", func(_ context.Context, h holding) (int, error) {
		if err := attempt.Hold(h.How, h.Report); err != nil {
			return 0, err
		}
		select {}
	}))
}

// startHeld starts the command with a worker that leaves a process behind. That process holds everything that it has inherited, so that anyone who
// uses the other ends must wait.
func startHeld(t *testing.T, how string, args ...string) (wait <-chan int, signal func(syscall.Signal)) {
	t.Helper()
	report := filepath.Join(t.TempDir(), "report")
	item := fmt.Sprintf(`{"how":%q,"report":%q}`, how, report)
	cmd, _, stderr := start(t, append(append([]string{"-p", "hold", "-j", "1", "-o", "none", "--progress", "none"}, args...), item)...)
	deadline := time.Now().Add(20 * time.Second)
	var pid int
	var words string
	for tick := time.NewTicker(5 * time.Millisecond); ; <-tick.C {
		if text, err := os.ReadFile(report); err == nil && strings.HasSuffix(string(text), "\n") {
			number, rest, _ := strings.Cut(strings.TrimSpace(string(text)), " ")
			_, _ = fmt.Sscan(number, &pid)
			words = rest
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("no process holds after 20 s; stderr: %s", stderr)
		}
	}
	t.Cleanup(func() {
		if pid > 0 {
			_ = syscall.Kill(pid, syscall.SIGKILL) // whoever waits for the process can go on
		}
	})
	if words != "held" {
		if how == "fuse" {
			t.Skip("no file system of a process's own here: ", words)
		}
		t.Fatal(words)
	}
	ended := make(chan int, 1)
	go func() {
		_ = cmd.Wait()
		ended <- cmd.ProcessState.ExitCode()
	}()
	return ended, func(s syscall.Signal) {
		if err := cmd.Process.Signal(s); err != nil {
			t.Errorf("signal %v: %v", s, err)
		}
	}
}

// notHung is the time limit for a command that does not hang, on a busy machine.
const notHung = 15 * time.Second

// The user can end the command, whatever a process that a worker left behind does with the descriptors that it shares with the host.
func TestAProcessThatHoldsWhatItSharesDoesNotHoldTheCommand(t *testing.T) {
	if testing.Short() {
		t.Skip("each way has to pass its time limits")
	}
	ways := []string{}
	for how := range attempt.Holds {
		ways = append(ways, how)
	}
	slices.Sort(ways)
	for _, how := range ways {
		t.Run(how, func(t *testing.T) {
			for name, end := range map[string]func(signal func(syscall.Signal)){
				"two interrupts": func(signal func(syscall.Signal)) {
					signal(syscall.SIGINT)
					time.AfterFunc(200*time.Millisecond, func() { signal(syscall.SIGINT) }) // two signals at once may arrive as one
				},
				"SIGKILL": func(signal func(syscall.Signal)) { signal(syscall.SIGKILL) },
			} {
				t.Run(name, func(t *testing.T) {
					ended, signal := startHeld(t, how)
					begun := time.Now()
					end(signal)
					select {
					case code := <-ended:
						t.Logf("exit code %d after %v", code, time.Since(begun))
					case <-time.After(notHung):
						t.Errorf("the command lives %v later", notHung)
					}
				})
			}
			t.Run("--item-timeout", func(t *testing.T) {
				ended, _ := startHeld(t, how, "--item-timeout", "500ms")
				select {
				case code := <-ended:
					if code != exitFailed {
						t.Errorf("got exit code %d, want %d", code, exitFailed)
					}
				case <-time.After(notHung):
					t.Errorf("the command lives %v later", notHung)
				}
			})
		})
	}
}
