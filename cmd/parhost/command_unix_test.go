//go:build unix

package main

import (
	"context"
	"io"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/spf13/cobra"
)

// deafEnv makes the test binary a command that ignores its context.
const deafEnv = "PARHOST_TEST_DEAF"

func init() {
	if os.Getenv(deafEnv) != "" {
		cmd := &cobra.Command{}
		cmd.SetContext(context.Background())
		ctx, stop := interruptible(cmd, newStreams(os.Stdin, os.Stdout, os.Stderr))
		defer stop()
		_, _ = os.Stdout.WriteString("here\n")
		<-ctx.Done()
		_, _ = os.Stdout.WriteString("heard\n")
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}
}

func TestASecondSignalEndsAnyCommand(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		cmd := command(t)
		cmd.Env = append(os.Environ(), deafEnv+"=1")
		stdin, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		stdout, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		for _, word := range []string{"here\n", "heard\n"} {
			if _, err := io.ReadFull(stdout, make([]byte, len(word))); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Process.Signal(signal)
		}
		ended := make(chan struct{})
		go func() {
			_, _ = io.Copy(io.Discard, stdout)
			close(ended)
		}()
		for deadline := time.After(time.Minute); ; { // the second signal may arrive before the first one has taken full effect
			select {
			case <-ended:
			case <-deadline:
				t.Errorf("%v: the command did not end", signal)
				_ = stdin.Close()
				<-ended
			case <-time.After(50 * time.Millisecond):
				_ = cmd.Process.Signal(signal)
				continue
			}
			break
		}
		_ = cmd.Wait()
		if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != signal {
			t.Errorf("%v: got %v, want the signal", signal, cmd.ProcessState)
		}
	}
}
