package sandbox

import (
	"errors"
	"fmt"
)

// inContainer is the hint for policies that macOS cannot enforce.
const inContainer = "a Linux container or virtual machine on this Mac has it"

// notOnMac refuses a policy that macOS cannot enforce. It is called before the policy's defaults are filled in. macOS has neither namespaces nor
// cgroups. Its limits apply to single processes, so a process that may start others can multiply them.
func (p *Policy) notOnMac() error {
	refuse := func(stage string, err error) error {
		return &StageError{Level: p.Level, Stage: stage, Err: err, Hint: inContainer}
	}
	if p.Level == Strict {
		return refuse("namespaces", errors.New("macOS has none: a process there cannot have a root, processes and a network of its own"))
	}
	for _, f := range []struct {
		field, lacks string
		set          bool
	}{
		{"MemoryBytes", "macOS does not hold memory to a limit, neither a process's nor a group's", p.MemoryBytes > 0},
		{"CPUs", "macOS has no share of the CPUs for a group of processes", p.CPUs > 0},
		{"PIDs", "macOS counts processes by their user, and threads not at all", p.PIDs > 0},
		{"TmpBytes", "there is no /tmp of a worker's own at level basic", p.TmpBytes > 0},
		{"UIDBase", "workers are of the host's user on macOS", p.UIDBase > 0},
		{"CgroupParent", "macOS has no cgroups", p.CgroupParent != ""},
	} {
		if f.set {
			return refuse("limits", fmt.Errorf("%s (Policy.%s)", f.lacks, f.field))
		}
	}
	return nil
}
