//go:build darwin || windows

package sandbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/parhost/parhost/host/sandbox/internal/trial"
)

// rehearse starts this program once more, in a box, to attempt what a plugin must not be able to do. Only that shows that a profile or a token has
// the intended effect on this system.
func rehearse(p play) error {
	b, err := boxFor(p)
	if err != nil {
		return err
	}
	defer b.Close()
	o, err := b.try()
	if err == nil {
		err = o.Judge(b.policy.AllowNet, b.policy.AllowFork)
	}
	if err != nil && !errors.Is(err, ErrNotSupported) {
		err = b.failed("rehearsal", err, "nothing is known that would change it; in a Linux container or virtual machine there is more")
	}
	return err
}

// tryPolicy does nothing on this system, because a rehearsal uses the policy's own files here.
func tryPolicy(context.Context, Policy) error { return nil }

// try lets a process test the walls of a box, and returns the outcome.
func (b *Box) try() (o trial.Outcome, err error) {
	stage, err := trial.Open()
	if err != nil {
		return o, err
	}
	defer stage.Close()
	cmd, err := stage.Command()
	if err != nil {
		return o, err
	}
	var stderr bytes.Buffer // for the error message
	cmd.Stderr = &stderr
	cmd.Env = setVariable(cmd.Env, envSockets, stage.Sockets())
	l, err := b.Wrap(cmd, 0)
	if err != nil {
		return o, err
	}
	defer l.Close()
	if err := l.StartError(cmd.Start()); err != nil {
		return o, err
	}
	ctx, cancel := context.WithTimeoutCause(context.Background(), rehearsalTime, fmt.Errorf("no end of the rehearsal after %v", rehearsalTime))
	defer cancel()
	if err := l.Confirm(ctx); err != nil {
		l.Kill()
		return o, errors.Join(err, cmd.Process.Kill(), trial.Wait(ctx, cmd))
	}
	if err := trial.Wait(ctx, cmd); err != nil {
		return o, fmt.Errorf("%w; stderr: %.500q", err, strings.TrimSpace(stderr.String()))
	}
	return stage.Outcome()
}
