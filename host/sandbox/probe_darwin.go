package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
)

// seen is what a rehearsal has shown that went well.
const seen = "a process tried its walls (experimental)"

// play is what a rehearsal is about: here each profile, of which what a policy opens makes another one.
type play struct {
	level         Level
	network, fork bool
}

func playOf(p *Policy) play { return play{p.Level, p.AllowNet, p.AllowFork} }

// possible refuses what macOS cannot give, as far as that can be said before a process is started.
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
	if needs, ok := errors.AsType[*NeedsFilesError](err); ok { // this program's libraries, which are no plugin's
		for _, folder := range needs.Folders {
			policy.ReadOnly = append(policy.ReadOnly, Bind{Source: folder, Target: folder})
		}
		b, err = openBox(context.Background(), policy, program, "")
	}
	return b, err
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
