package sandbox

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"strings"
	"sync"
)

// Box is the sandbox of one pool. It holds what the pool's workers share. Its methods may be called from any goroutine.
type Box struct {
	policy           Policy
	plugin, checksum string // compared before each start
	token            *token // nil at level off
	closing          sync.Once
}

// Open makes a sandbox for workers that run plugin. Each worker is in a job object, which enforces its limits and ends it with its host. At [Basic]
// it also has a restricted token, and a test process has run with such a token before Open returns.
//
// Windows cannot close the network to a process that listens on it, as plugins do there, and cannot open single files to a token. So [Basic] needs
// [Policy.AllowNet], and Open refuses ReadOnly and ReadWrite. It also refuses limits that a job object cannot enforce.
//
// The plugin is hashed here and before each start. A start fails with a [*ChangedError] if the plugin has changed. checksum is the plugin's SHA-256
// in hexadecimal, or empty. If it is set, the error is a [*ChecksumError] if the plugin has another one. A process that may write to the file can
// still change it between hashing and execution.
func Open(ctx context.Context, policy Policy, plugin, checksum string) (*Box, error) {
	complete, err := policy.complete()
	if err != nil {
		return nil, fmt.Errorf("sandbox: %w", err)
	}
	if err := possible(&policy); err != nil {
		return nil, err
	}
	if policy.Level > Off {
		if err := rehearsed(ctx, playOf(&policy)); err != nil {
			return nil, err
		}
	}
	return openBox(ctx, complete, plugin, checksum)
}

// openBox opens a box for a complete policy.
func openBox(ctx context.Context, policy Policy, plugin, checksum string) (*Box, error) {
	checksum, err := hashed(ctx, plugin, checksum)
	if err != nil {
		return nil, err
	}
	b := &Box{policy: policy, plugin: plugin, checksum: checksum}
	if policy.Level == Off {
		return b, nil
	}
	if b.token, err = openToken(); err != nil {
		return nil, b.failed("token", err, "")
	}
	return b, nil
}

// elsewhere is the hint for walls that Windows does not have.
const elsewhere = "in a Linux container or virtual machine there is more"

// possible returns the error that [Open] would return for a policy, as far as it is known before a process is started. It is called before defaults
// are filled in, because Windows need not enforce limits that nobody has asked for.
func possible(p *Policy) error {
	refuse := func(stage, hint, format string, args ...any) error {
		return &StageError{Level: p.Level, Stage: stage, Err: fmt.Errorf(format, args...), Hint: hint}
	}
	switch {
	case p.Level > Basic:
		return refuse("namespaces", elsewhere+"; level basic is the most on Windows", "Windows has no private roots and networks for single processes")
	case p.Level == Basic && !p.AllowNet:
		return refuse("network", "allow it, --allow-net, which says that it is open; "+elsewhere, "Windows cannot close it to a plugin, which has to listen on it")
	case uint64(p.MemoryBytes) > math.MaxUint:
		return refuse("limits", "a 64-bit parhost can", "a limit of %d bytes is more than this program can tell Windows (Policy.MemoryBytes)", p.MemoryBytes)
	case len(p.ReadOnly)+len(p.ReadWrite) > 0:
		return refuse("files", "put them where all users may read; "+elsewhere, "Windows cannot open single files to a plugin (Policy.ReadOnly, Policy.ReadWrite)")
	}
	for _, limit := range []struct {
		name  string
		value int64
	}{
		{"OpenFiles", int64(p.OpenFiles)}, {"FileBytes", p.FileBytes}, {"TmpBytes", p.TmpBytes}, {"UIDBase", int64(p.UIDBase)}, {"CgroupParent", int64(len(p.CgroupParent))},
	} {
		if limit.value != 0 {
			return refuse("limits", elsewhere, "a job object of Windows cannot hold Policy.%s", limit.name)
		}
	}
	return nil
}

func (b *Box) failed(stage string, err error, hint string) error {
	return &StageError{Level: b.policy.Level, Stage: stage, Err: err, Hint: hint}
}

// Level returns the level of the box.
func (b *Box) Level() Level { return b.policy.Level }

// Layers describes in words the layers that confine each worker.
func (b *Box) Layers() []string {
	var held []string
	for _, l := range []struct {
		name string
		set  bool
	}{{"memory", b.policy.MemoryBytes > 0}, {"cpu", b.policy.CPUs > 0}, {"processes", b.processes() > 0}} {
		if l.set {
			held = append(held, l.name)
		}
	}
	var layers []string
	if b.policy.Level > Off {
		layers = append(layers, "restricted token", "low integrity")
	}
	if len(held) > 0 {
		layers = append(layers, "job object "+strings.Join(held, " "))
	}
	return layers
}

// PIDs returns how many processes each worker may have, or 0 for any number.
func (b *Box) PIDs() int { return b.processes() }

// processes returns how many processes a worker may have, or 0 for any number.
func (b *Box) processes() int {
	if b.policy.Level > Off && !b.policy.AllowFork {
		return 1
	}
	if b.policy.Level > Off {
		return cmp.Or(b.policy.PIDs, DefaultPIDs)
	}
	return b.policy.PIDs
}

// Checksum returns the SHA-256 of the plugin, in hexadecimal.
func (b *Box) Checksum() string { return b.checksum }

// Close releases all resources of the box. All launches must have been closed before. Close may be called twice.
func (b *Box) Close() {
	b.closing.Do(func() {
		if b.token != nil {
			b.token.close()
		}
	})
}
