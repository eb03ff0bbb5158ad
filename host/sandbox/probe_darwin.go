package sandbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/parhost/parhost/host/sandbox/internal/seatbelt"
	"github.com/parhost/parhost/host/sandbox/internal/trial"
)

// play is what a rehearsal is about: here each profile, of which what a policy opens makes another one.
type play struct {
	level         Level
	network, fork bool
}

func playOf(p *Policy) play { return play{p.Level, p.AllowNet, p.AllowFork} }

// possible refuses what macOS cannot give, as far as that can be said before a process is started.
func possible(p *Policy) error { return p.notOnMac() }

// rehearse starts this program once more, in a box, to try what a plugin should not get away with. The profile language is not documented
// and has changed before: nothing but this says that a profile means on this macOS what it was meant to.
func rehearse(p play) error {
	policy := Policy{Level: p.level, AllowNet: p.network, AllowFork: p.fork}
	if err := possible(&policy); err != nil {
		return err
	}
	stage, err := trial.Open()
	if err != nil {
		return fmt.Errorf("sandbox: rehearsal: %w", err)
	}
	defer stage.Close()
	cmd, err := stage.Command()
	if err != nil {
		return fmt.Errorf("sandbox: rehearsal: %w", err)
	}
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
		err = seatbelt.Judge(outcome, p.network, p.fork)
	}
	if err != nil {
		return b.failed("rehearsal", err, hint)
	}
	return nil
}

// Probe says what this machine has for sandboxes. It starts a process at level basic, once in the life of this one.
func Probe(ctx context.Context) (*Report, error) {
	r := &Report{}
	tool := Layer{Name: "sandbox-exec", OK: true, Fact: sandboxExec + ", deprecated by Apple"}
	if _, err := os.Stat(sandboxExec); err != nil {
		tool.OK, tool.Fact, tool.Hint = false, err.Error(), "a macOS that still has it; else "+inContainer
	}
	r.Layers = []Layer{tool, {Name: "rlimits", OK: true, Fact: "descriptors, the length of files, core dumps; no memory, CPU time or processes"}}
	return r, r.addLevels(ctx)
}
