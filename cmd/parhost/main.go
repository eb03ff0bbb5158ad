// Command parhost runs a workload on many items in parallel, with each worker in a separate process, and shows the costs and benefits.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	_ "github.com/parhost/parhost/cmd/parhost/internal/arenas" // before packages that start threads
	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/host/sandbox"
	"github.com/parhost/parhost/internal/cgroup"
	"github.com/parhost/parhost/plugins/reduce"
	"github.com/parhost/parhost/plugins/sleep"
	"github.com/parhost/parhost/plugins/sqrt"
	"github.com/parhost/parhost/sdk"
)

// builtin are the workloads that are linked into this program. In process mode, this program starts itself as their plugin.
var builtin = []sdk.AnyWorkload{reduce.Workload, sleep.Workload, sqrt.Workload}

func main() {
	sdk.ServeChild(builtin...)
	quietGRPC()
	keepPipeErrors()
	boundMemory(cgroup.MemoryLimit())
	collectCheaply()
	os.Exit(run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// Exit codes.
const (
	exitOK          = 0
	exitFailed      = 1 // some items failed, modes disagree, or the output cannot be written
	exitUsage       = 2 // wrong flags, unreadable input
	exitNoWorker    = 3 // no worker could be started
	exitNoSandbox   = 4 // the requested sandbox cannot be set up
	exitInterrupted = 130
)

// exitError is an error with an exit code and a hint, which may be empty.
type exitError struct {
	code int
	err  error
	hint string
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

// usageError returns an error in the use of the command. hint says what to write instead.
func usageError(hint, format string, args ...any) error {
	return &exitError{code: exitUsage, err: fmt.Errorf(format, args...), hint: hint}
}

// run runs the whole command and returns its exit code.
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

// withLostOutput returns the final error of a command, where lost is the error of writing to stdout. It is needed because cobra ignores write errors
// of help texts and shell completions. If the reader of stdout stops early, as head does, that is not a failure.
func withLostOutput(err, lost error) error {
	if _, decided := errors.AsType[*exitError](err); decided || lost == nil || err != nil && !errors.Is(err, lost) {
		return err
	}
	if isPipeError(lost) {
		return nil
	}
	return &exitError{code: exitFailed, err: lost}
}

// errSaid ends the command with an exit code whose reason has already been printed.
var errSaid = errors.New("said")

// exitCode returns the exit code for an error and a hint for people.
func exitCode(err error) (code int, hint string) {
	var exit *exitError
	var config *host.ConfigError
	var start *host.StartError
	var broken *host.BrokenError
	var changed *sandbox.ChangedError
	var checksum *sandbox.ChecksumError
	var confined *confinedError
	var stage *sandbox.StageError // for plugins that are not executable programs
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
		return exitUsage, "" // cobra's own errors, such as unknown flags and commands
	}
}
