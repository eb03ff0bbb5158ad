package sandbox

import (
	"encoding"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
)

// Level says how strictly a plugin is confined.
type Level int

const (
	// Off runs a plain process. Limits are enforced at this level too.
	Off Level = iota
	// Basic takes away privileges, files, sockets, signals and most system calls. The host needs no privileges for it, and it works inside
	// containers.
	Basic
	// Strict is Basic plus namespaces of the worker's own and a private root.
	Strict
)

var levels = [...]string{Off: "off", Basic: "basic", Strict: "strict"}

var (
	_ encoding.TextMarshaler   = Off
	_ encoding.TextUnmarshaler = (*Level)(nil)
)

func (l Level) String() string {
	if l < 0 || int(l) >= len(levels) {
		return fmt.Sprintf("level %d", int(l))
	}
	return levels[l]
}

// MarshalText implements [encoding.TextMarshaler]: it returns off, basic or strict.
func (l Level) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText accepts off, basic or strict.
func (l *Level) UnmarshalText(text []byte) error {
	for i, name := range levels {
		if name == string(text) {
			*l = Level(i)
			return nil
		}
	}
	return fmt.Errorf("sandbox level %q, want %s", text, strings.Join(levels[:], ", "))
}

// Bind is a file or folder of the host that a plugin may use.
type Bind struct {
	// Source is the absolute path on the host. The plugin's user must have the permission to read it; the bind does not grant that.
	Source string `json:"source,omitempty"`
	// Target is the absolute path at which the plugin sees it; empty means Source. Only [Strict] allows a Target that differs from Source.
	Target string `json:"target,omitempty"`
}

// Policy says what a plugin may do. The zero Policy is a plain process without limits.
type Policy struct {
	Level Level `json:"level,omitempty"`

	// Limits of one worker. 0 means no limit unless the field says otherwise. [Open] returns an error if a limit is set and cannot be enforced.

	// MemoryBytes limits a worker's memory. A cgroup enforces it if there is one. Otherwise RLIMIT_DATA limits the private memory of each process
	// separately, and a watch reads the worker's memory use every 50 ms. The minimum is 16 MiB, or 128 MiB with RLIMIT_DATA, because a Go program
	// does not start with less.
	MemoryBytes int64 `json:"memory_bytes,omitempty"`
	// CPUs limits CPU time, in CPUs: from 0.01 to 65536. It needs a cgroup.
	CPUs float64 `json:"cpus,omitempty"`
	// PIDs limits a worker's processes and threads, on Windows only its processes. 0 means 512 at basic and strict if the machine can count them. On
	// Linux the default is lower if 512 for each of the Workers exceed half of what the host's cgroups, its user and the kernel still allow. Open
	// refuses a value that exceeds all that they allow, because the host needs threads too.
	PIDs int `json:"pids,omitempty"`
	// TmpBytes is the size of /tmp at [Strict]; 0 means 16 MiB. The files there are in memory and count as the worker's memory. Basic has no /tmp.
	TmpBytes int64 `json:"tmp_bytes,omitempty"`
	// OpenFiles limits a worker's open descriptors; 0 means 1024 at basic and strict.
	OpenFiles int `json:"open_files,omitempty"`
	// FileBytes limits the length of a file that the worker writes.
	FileBytes int64 `json:"file_bytes,omitempty"`

	// Workers is how many workers run at the same time and share the processes that the machine allows; 0 means 1. Package host sets it.
	Workers int `json:"workers,omitempty"`

	// What the worker may reach at basic and strict.

	// ReadOnly are files and folders that the worker may read. With AllowFork it may also execute programs there. Names are resolved when the box is
	// opened. On Linux a worker does not start if a name leads to something else by then.
	ReadOnly []Bind `json:"read_only,omitempty"`
	// ReadWrite are files and folders that the worker may read and change. It cannot execute programs there. A file or folder inside one of them
	// cannot be listed separately. With ReadWrite the worker may also lock files, which uses kernel memory that no limit counts.
	ReadWrite []Bind `json:"read_write,omitempty"`
	// AllowNet gives the worker the host's network: TCP, UDP, and unix sockets that it can reach.
	AllowNet bool `json:"allow_net,omitempty"`
	// AllowFork lets the worker start processes.
	AllowFork bool `json:"allow_fork,omitempty"`

	// UIDBase is the first of the user ids that a host running as root gives its workers: worker n gets UIDBase+n, and so does worker n of every
	// other pool with the same UIDBase. 0 means that each box draws a random base from a range that nobody else uses, or else from the upper half of
	// the ids in the host's user namespace.
	UIDBase int `json:"uid_base,omitempty"`
	// CgroupParent is the folder in which the workers' cgroups are made, relative to the mount of a cgroup hierarchy; empty means the host's own
	// cgroup.
	CgroupParent string `json:"cgroup_parent,omitempty"`
	// TempDir is the folder in which the sockets of basic workers lie; empty means the system's folder for temporary files.
	TempDir string `json:"temp_dir,omitempty"`
}

// DefaultPIDs is the value of [Policy.PIDs] at basic and strict if that is 0 and the machine allows so many.
const DefaultPIDs = 512

// Other defaults and bounds of a [Policy].
const (
	defaultTmpBytes  = 16 << 20
	defaultOpenFiles = 1024
	leastMemory      = 16 << 20
	leastData        = 128 << 20
	leastCPUs        = 0.01
	maxCPUs          = 1 << 16
	leastPIDs        = 8  // a Go program that serves has six threads
	leastOpenFiles   = 16 // and it has a dozen descriptors
	leastTmpBytes    = 4 << 10
)

// limited reports whether the policy sets a limit.
func (p *Policy) limited() bool {
	return p.MemoryBytes > 0 || p.CPUs > 0 || p.PIDs > 0 || p.OpenFiles > 0 || p.FileBytes > 0
}

// complete fills in the defaults and checks every field.
func (p Policy) complete() (Policy, error) {
	if p.Level < Off || p.Level > Strict {
		return p, fmt.Errorf("level is %d, want off, basic or strict (Policy.Level)", int(p.Level))
	}
	for _, f := range []struct {
		name       string
		value, low float64
	}{
		{"MemoryBytes", float64(p.MemoryBytes), leastMemory},
		{"CPUs", p.CPUs, leastCPUs},
		{"PIDs", float64(p.PIDs), leastPIDs},
		{"TmpBytes", float64(p.TmpBytes), leastTmpBytes},
		{"OpenFiles", float64(p.OpenFiles), leastOpenFiles},
		{"FileBytes", float64(p.FileBytes), 1},
		{"UIDBase", float64(p.UIDBase), 1},
		{"Workers", float64(p.Workers), 1},
	} {
		if f.value != 0 && !(f.value >= f.low) { // written so that NaN is refused too
			digits := func(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }
			return p, fmt.Errorf("limit is %s, the least is %s (Policy.%s)", digits(f.value), digits(f.low), f.name)
		}
	}
	if p.CPUs > maxCPUs { // the kernel cannot hold a larger quota and would set no limit
		return p, fmt.Errorf("limit is %v, the most is %d (Policy.CPUs)", p.CPUs, maxCPUs)
	}
	if strings.Contains("/"+p.CgroupParent+"/", "/../") {
		return p, fmt.Errorf("cgroup %q leads upwards (Policy.CgroupParent)", p.CgroupParent)
	}
	if p.Level == Off {
		return p, p.forbidAtOff()
	}
	if p.OpenFiles == 0 {
		p.OpenFiles = defaultOpenFiles
	}
	if p.TmpBytes == 0 {
		p.TmpBytes = defaultTmpBytes
	}
	var err error
	if p.ReadOnly, err = p.checkBinds("ReadOnly", p.ReadOnly); err != nil {
		return p, err
	}
	p.ReadWrite, err = p.checkBinds("ReadWrite", p.ReadWrite)
	return p, err
}

// forbidAtOff refuses fields that have no effect on a plain process.
func (p *Policy) forbidAtOff() error {
	for _, f := range []struct {
		name string
		set  bool
	}{
		{"ReadOnly", len(p.ReadOnly) > 0},
		{"ReadWrite", len(p.ReadWrite) > 0},
		{"TmpBytes", p.TmpBytes > 0},
		{"UIDBase", p.UIDBase > 0},
	} {
		if f.set {
			return fmt.Errorf("level off has no walls that Policy.%s could change: use basic or strict", f.name)
		}
	}
	return nil
}

// taken are the folders of a strict worker's root that the sandbox itself provides.
var taken = []string{"/", "/dev", "/run", "/run/plugin", "/proc"}

func (p *Policy) checkBinds(field string, binds []Bind) ([]Bind, error) {
	var checked []Bind
	for i, b := range binds {
		if b.Target == "" {
			b.Target = b.Source
		}
		where := fmt.Sprintf("Policy.%s[%d]", field, i)
		for _, name := range []string{b.Source, b.Target} {
			if !filepath.IsAbs(name) {
				return nil, fmt.Errorf("path %q is not absolute (%s)", name, where)
			}
		}
		b.Source, b.Target = filepath.Clean(b.Source), filepath.Clean(b.Target)
		switch {
		case p.Level == Basic && b.Source != b.Target:
			return nil, fmt.Errorf("%q cannot be shown as %q at level basic (%s)", b.Source, b.Target, where)
		case b.Source == "/proc" || strings.HasPrefix(b.Source, "/proc/"):
			return nil, fmt.Errorf("%q tells of other processes and cannot be opened to a plugin (%s)", b.Source, where)
		}
		for _, own := range taken {
			if p.Level == Strict && b.Target == own {
				return nil, fmt.Errorf("%q is the sandbox's own (%s)", b.Target, where)
			}
		}
		checked = append(checked, b)
	}
	return checked, nil
}
