package sandbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/parhost/parhost/host/sandbox/internal/seatbelt"
	"github.com/parhost/parhost/host/sandbox/internal/trial"
)

// rehearsalTime is how long a rehearsal may take, on a machine that swaps.
const rehearsalTime = 20 * time.Second

// opening is what a profile opens beside files.
type opening struct{ network, fork bool }

// rehearsals are made once in the life of a process, and each profile's by itself.
var rehearsals = map[opening]func() error{
	{}:              sync.OnceValue(func() error { return rehearse(opening{}) }),
	{network: true}: sync.OnceValue(func() error { return rehearse(opening{network: true}) }),
	{fork: true}:    sync.OnceValue(func() error { return rehearse(opening{fork: true}) }),
	{true, true}:    sync.OnceValue(func() error { return rehearse(opening{true, true}) }),
}

// rehearsed returns what became of a process that tried the walls of such a profile.
func rehearsed(ctx context.Context, network, fork bool) error {
	done := make(chan error, 1)
	go func() { done <- rehearsals[opening{network, fork}]() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// rehearse starts this program once more, in a box, to try what a plugin should not get away with. The profile language is not documented
// and has changed before: nothing but this says that a profile means on this macOS what it was meant to.
func rehearse(o opening) error {
	stage, err := trial.Open()
	if err != nil {
		return fmt.Errorf("sandbox: rehearsal: %w", err)
	}
	defer stage.Close()
	cmd, err := stage.Command()
	if err != nil {
		return fmt.Errorf("sandbox: rehearsal: %w", err)
	}
	policy := Policy{Level: Basic, AllowNet: o.network, AllowFork: o.fork}
	b, err := openBox(policy, cmd.Path, "")
	if needs, ok := errors.AsType[*NeedsFilesError](err); ok { // this program's libraries, which are no plugin's
		for _, folder := range needs.Folders {
			policy.ReadOnly = append(policy.ReadOnly, Bind{Source: folder, Target: folder})
		}
		b, err = openBox(policy, cmd.Path, "")
	}
	if err != nil {
		return err
	}
	var stderr bytes.Buffer // of this program and of sandbox-exec, which are not given to talking
	cmd.Stderr = &stderr
	cmd.Env = setVariable(cmd.Env, envSockets, stage.Sockets())
	if _, err := b.Wrap(cmd, 0); err != nil {
		return err
	}
	const hint = "nothing is known that would change it; level off, or " + inContainer
	if err := cmd.Start(); err != nil {
		return b.failed("rehearsal", err, hint)
	}
	ctx, cancel := context.WithTimeoutCause(context.Background(), rehearsalTime, fmt.Errorf("no end of the rehearsal after %v", rehearsalTime))
	defer cancel()
	if err := trial.Wait(ctx, cmd); err != nil {
		return b.failed("rehearsal", fmt.Errorf("%w; stderr: %.500q", err, strings.TrimSpace(stderr.String())), hint)
	}
	outcome, err := stage.Outcome()
	if err == nil {
		err = seatbelt.Judge(outcome, o.network, o.fork)
	}
	if err != nil {
		return b.failed("rehearsal", err, hint)
	}
	return nil
}

// Best returns [Basic] where its walls stood in a rehearsal, else [Off].
func Best(ctx context.Context) (Level, error) {
	err := rehearsed(ctx, false, false)
	switch {
	case err == nil:
		return Basic, nil
	case errors.Is(err, ErrNotSupported):
		return Off, nil
	default:
		return Off, err
	}
}

// Probe says what this machine has for sandboxes. It starts a process at level basic, once in the life of this one.
func Probe(ctx context.Context) (*Report, error) {
	r := &Report{}
	tool := Layer{Name: "sandbox-exec", OK: true, Fact: sandboxExec + ", deprecated by Apple"}
	if _, err := os.Stat(sandboxExec); err != nil {
		tool.OK, tool.Fact, tool.Hint = false, err.Error(), "a macOS that still has it; else "+inContainer
	}
	r.Layers = []Layer{tool, {Name: "rlimits", OK: true, Fact: "descriptors, the length of files, core dumps; no memory, CPU time or processes"}}
	add := func(level Level, err error) {
		l := Layer{Name: "level " + level.String(), OK: err == nil, Fact: "a process tried its walls (experimental)"}
		if err != nil {
			l.Fact = err.Error()
		}
		if e, ok := errors.AsType[*StageError](err); ok {
			l.Fact, l.Hint = fmt.Sprintf("%s: %v", e.Stage, e.Err), e.Hint
		}
		r.Levels = append(r.Levels, l)
	}
	err := rehearsed(ctx, false, false)
	if err != nil && !errors.Is(err, ErrNotSupported) {
		return nil, err
	}
	if err == nil {
		r.Best = Basic
	}
	add(Basic, err)
	add(Strict, (&Policy{Level: Strict}).notOnMac())
	return r, nil
}
