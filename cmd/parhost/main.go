// Command parhost runs a workload on many items in parallel, each worker a separate process, and shows what that costs and buys.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/host/sandbox"
	"github.com/parhost/parhost/plugins/reduce"
	"github.com/parhost/parhost/plugins/sleep"
	"github.com/parhost/parhost/plugins/sqrt"
	"github.com/parhost/parhost/sdk"
)

// builtin are the workloads linked in; in process mode this program starts itself as their plugin.
var builtin = []*sdk.Workload{reduce.Workload, sleep.Workload, sqrt.Workload}

func main() {
	sdk.ServeChild(builtin...)
	saveAddressSpace()
	quietGRPC()
	keepPipeErrors()
	boundMemory(memoryLimit())
	collectCheaply()
	os.Exit(run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// Exit codes.
const (
	exitOK          = 0
	exitFailed      = 1 // some items failed, or modes disagree
	exitUsage       = 2 // wrong flags, unreadable input
	exitNoWorker    = 3 // no worker could be started
	exitNoSandbox   = 4 // the sandbox that was asked for cannot be given
	exitInterrupted = 130
)

// exitError is an error with the code to exit with, and what to do about it.
type exitError struct {
	code int
	err  error
	hint string
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

// usageError is an error in how the command was called, with what to write instead.
func usageError(hint, format string, args ...any) error {
	return &exitError{code: exitUsage, err: fmt.Errorf(format, args...), hint: hint}
}

// run is the whole command. It returns the exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	s := newStreams(stdin, stdout, stderr)
	defer s.outlets.close()
	root := newRoot(s)
	takeOnce(root)
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(s.out)
	root.SetErr(s.err)
	cmd, err := root.ExecuteContextC(ctx)
	err = withLostOutput(err, s.outlets.out.failure())
	code, hint := exitCode(err)
	if hint = hintFor(cmd, err, hint); err != nil && !errors.Is(err, errSaid) {
		s.say("parhost: error: %s%s", inFlags(err.Error()), fileLimit(err))
		if hint != "" {
			s.say("parhost: hint: %s", hint)
		}
	}
	return code
}

// withLostOutput returns the error of a command, given the error of writing to stdout. Cobra ignores write errors of help texts and of shell
// completions. It is no failure if the reader of stdout stops early, as head does.
func withLostOutput(err, lost error) error {
	if _, decided := errors.AsType[*exitError](err); decided || lost == nil || err != nil && !errors.Is(err, lost) {
		return err
	}
	if isPipeError(lost) {
		return nil
	}
	return &exitError{code: exitFailed, err: lost}
}

// errSaid ends the command with a code whose reason has been shown already.
var errSaid = errors.New("said")

// exitCode returns what to exit with for an error, and a hint for people.
func exitCode(err error) (code int, hint string) {
	var exit *exitError
	var config *host.ConfigError
	var start *host.StartError
	var broken *host.BrokenError
	var changed *sandbox.ChangedError
	var checksum *sandbox.ChecksumError
	var confined *confinedError
	var stage *sandbox.StageError // of a plugin that is no program
	confineHint, notConfined := notConfined(err)
	switch {
	case err == nil:
		return exitOK, ""
	case errors.As(err, &exit):
		return exit.code, exit.hint
	case errors.As(err, &confined):
		code, hint = exitCode(confined.err)
		if start, ok := errors.AsType[*host.StartError](err); ok && ofSeveral(start) {
			return code, hint
		}
		return code, withoutSandbox
	case notConfined:
		return exitNoSandbox, confineHint
	case errors.As(err, &changed):
		return exitNoWorker, ""
	case errors.As(err, &checksum):
		return exitNoWorker, anotherPlugin(checksum)
	case errors.As(err, &stage):
		return exitNoWorker, ""
	case errors.As(err, &config):
		return exitUsage, ""
	case errors.Is(err, host.ErrNotFound):
		return exitNoWorker, "parhost plugins list shows what there is"
	case errors.As(err, &start):
		return exitNoWorker, startHint(start)
	case errors.As(err, &broken):
		return exitNoWorker, ""
	default:
		return exitUsage, "" // cobra's own errors: unknown flags and commands
	}
}
