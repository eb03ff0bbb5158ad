package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
)

// seen is the fact that Probe reports after a successful rehearsal.
const seen = "a process tried its walls (experimental)"

// play is what distinguishes rehearsals: the level, and what a policy opens in the profile.
type play struct {
	level         Level
	network, fork bool
}

func playOf(p *Policy) play { return play{p.Level, p.AllowNet, p.AllowFork} }

// possible returns the error that [Open] would return for a policy that macOS cannot enforce, as far as it is known before a process is started.
func possible(p *Policy) error { return p.notOnMac() }

// boxFor opens the box of a rehearsal, in which this program can run.
func boxFor(p play) (*Box, error) {
	policy := Policy{Level: p.level, AllowNet: p.network, AllowFork: p.fork}
	if err := possible(&policy); err != nil {
		return nil, err
	}
	program, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("sandbox: rehearsal: %w", err)
	}
	b, err := openBox(context.Background(), policy, program, "")
	if needs, ok := errors.AsType[*NeedsFilesError](err); ok { // opens the libraries of this program
		for _, folder := range needs.Folders {
			policy.ReadOnly = append(policy.ReadOnly, Bind{Source: folder, Target: folder})
		}
		b, err = openBox(context.Background(), policy, program, "")
	}
	return b, err
}

// Probe reports which sandbox features this machine has. It starts a process at level basic, once in the life of this process.
func Probe(ctx context.Context) (*Report, error) {
	r := &Report{}
	tool := Layer{Name: "sandbox-exec", OK: true, Fact: sandboxExec + ", deprecated by Apple"}
	if _, err := os.Stat(sandboxExec); err != nil {
		tool.OK, tool.Fact, tool.Hint = false, err.Error(), "a macOS that still has it; else "+inContainer
	}
	r.Layers = []Layer{tool, {Name: "rlimits", OK: true, Fact: "descriptors, the length of files, core dumps; no memory, CPU time or processes"}}
	return r, r.addLevels(ctx)
}
