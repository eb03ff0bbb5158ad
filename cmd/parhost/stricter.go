package main

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/parhost/parhost/host/sandbox"
)

// over returns the policy for the replay of an item whose run had the policy was. It is the flags' policy, but at least as strict as was. Access that
// was granted, except to libraries of the system, is granted again only by a flag, because anybody may have written was into the dossier.
func (c *confinement) over(ctx context.Context, s *streams, was *sandbox.Policy) (sandbox.Policy, error) {
	asked := *c
	var level sandbox.Level
	if level.UnmarshalText([]byte(c.level)) == nil && level < was.Level {
		asked.level = was.Level.String() // early, so that --ro and similar flags are not refused for lack of a sandbox
	}
	p, err := asked.policyOrWarning(ctx, s)
	if err != nil {
		return p, err
	}
	p.Level = max(p.Level, was.Level) // auto may choose a lower level
	p.MemoryBytes, p.CPUs, p.PIDs = lower(p.MemoryBytes, was.MemoryBytes), lower(p.CPUs, was.CPUs), lower(p.PIDs, was.PIDs)
	p.OpenFiles, p.FileBytes = lower(p.OpenFiles, was.OpenFiles), lower(p.FileBytes, was.FileBytes)
	if p.Level > sandbox.Off {
		p.TmpBytes = lower(p.TmpBytes, was.TmpBytes)
	}
	if was.Level == sandbox.Off {
		return p, nil // the run had no sandbox, so no flag opens more than the run had
	}
	if more := beyond(&p, was); more != "" {
		return p, usageError("to open more, run the item itself, without its dossier", "%s: that was not open to the run of the dossier", more)
	}
	for _, b := range was.ReadOnly {
		if (b.Target == "" || b.Target == b.Source) && isLibraries(b.Source) && !slices.Contains(grantsOf(&p), grantOf("--ro", b)) {
			p.ReadOnly = append(p.ReadOnly, b)
		}
	}
	if more := beyond(was, &p); more != "" {
		s.say("parhost: not as it was: the run had %s, which only the same flags open again", more)
	}
	return p, nil
}

// lower returns the lower of two limits, where 0 means no limit.
func lower[T cmp.Ordered](a, b T) T {
	var none T
	if a == none || b == none {
		return max(a, b)
	}
	return min(a, b)
}

// grantsOf returns the flags that grant the same access as a policy.
func grantsOf(p *sandbox.Policy) []string {
	var flags []string
	for _, list := range []struct {
		flag  string
		binds []sandbox.Bind
	}{{"--ro", p.ReadOnly}, {"--rw", p.ReadWrite}} {
		for _, b := range list.binds {
			flags = append(flags, grantOf(list.flag, b))
		}
	}
	if p.AllowNet {
		flags = append(flags, "--allow-net")
	}
	if p.AllowFork {
		flags = append(flags, "--allow-fork")
	}
	return flags
}

// grantOf returns the flag that grants a bind.
func grantOf(flag string, b sandbox.Bind) string {
	if b.Target == "" || b.Target == b.Source {
		return flag + " " + quote(b.Source)
	}
	return flag + " " + quote(b.Source+":"+b.Target)
}

// beyond returns the flags for the access that p grants and other does not, separated by spaces.
func beyond(p, other *sandbox.Policy) string {
	open := grantsOf(other)
	return strings.Join(slices.DeleteFunc(grantsOf(p), func(flag string) bool { return slices.Contains(open, flag) }), " ")
}
