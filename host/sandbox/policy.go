package sandbox

import (
	"encoding"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
)

// Level says how much stands between a plugin and the machine.
type Level int

const (
	// Off is a plain process. Limits hold at this level too.
	Off Level = iota
	// Basic takes away privileges, files, sockets, signals and most system calls. It needs no privilege and works inside containers.
	Basic
	// Strict is Basic in namespaces of its own, with a private root.
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

// MarshalText is part of [encoding.TextMarshaler].
func (l Level) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText reads off, basic or strict.
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
	// Source is its absolute path on the host. What cannot be read by the plugin's user stays unreadable.
	Source string `json:"source,omitempty"`
	// Target is its absolute path for the plugin; empty is Source. Only [Strict] can show it elsewhere.
	Target string `json:"target,omitempty"`
}

// Policy says what a plugin may do. The zero Policy is a plain process without limits.
type Policy struct {
	Level Level `json:"level,omitempty"`

	// Limits of one worker; 0 is none, if nothing else is said. One that is asked for and cannot be enforced is an error of [Open].

	// MemoryBytes is held by a cgroup where there is one; else by RLIMIT_DATA, which counts private memory alone, of each process by
	// itself, and by looking at what the worker has every 50 ms. At least 16 MiB, and for RLIMIT_DATA 128 MiB: a Go program does not start with less.
	MemoryBytes int64 `json:"memory_bytes,omitempty"`
	// CPUs is how many CPUs' time it gets, from 0.01 to 65536; it needs a cgroup.
	CPUs float64 `json:"cpus,omitempty"`
	// PIDs is how many processes and threads it may have, on Windows how many processes. 0 is 512 at basic and strict where the machine can
	// count them, and on Linux fewer where 512 for each of the Workers are more than half of what the host's cgroups, its user and the kernel
	// still allow. A number that is more than all of that is refused: the host has to have threads too.
	PIDs int `json:"pids,omitempty"`
	// TmpBytes is the size of /tmp at [Strict]; 0 is 16 MiB. It is memory, and counted as the worker's. There is no /tmp at basic.
	TmpBytes int64 `json:"tmp_bytes,omitempty"`
	// OpenFiles is how many descriptors it may have; 0 is 1024 at basic and strict.
	OpenFiles int `json:"open_files,omitempty"`
	// FileBytes is how long a file may grow that it writes.
	FileBytes int64 `json:"file_bytes,omitempty"`

	// Workers is how many workers there are at a time, which share what the machine has of processes; 0 is 1. Package host sets it.
	Workers int `json:"workers,omitempty"`

	// What it may reach, at basic and strict.

	// ReadOnly are files and folders that it may read, and with AllowFork run programs of. They are what their names lead to when the box
	// is opened; a worker for which that has changed does not start, on Linux.
	ReadOnly []Bind `json:"read_only,omitempty"`
	// ReadWrite are files and folders that it may read and change. Programs there do not run. What lies in them cannot be opened apart. With
	// them it may also lock files, which costs memory of the kernel that nothing counts.
	ReadWrite []Bind `json:"read_write,omitempty"`
	// AllowNet gives it the host's network: TCP, UDP, and unix sockets that it can reach.
	AllowNet bool `json:"allow_net,omitempty"`
	// AllowFork lets it start processes.
	AllowFork bool `json:"allow_fork,omitempty"`

	// UIDBase is the first of the user ids that a root host gives its workers: worker n gets UIDBase+n, and so does worker n of each other
	// pool that says so. 0 is a number that is drawn for each box, from a range that nobody else uses, or from the upper half of what the
	// host's own user namespace has.
	UIDBase int `json:"uid_base,omitempty"`
	// CgroupParent is the folder, below the mount of a cgroup hierarchy, in which the workers' cgroups are made; empty is the host's
	// own cgroup.
	CgroupParent string `json:"cgroup_parent,omitempty"`
	// TempDir is where sockets of basic workers lie; empty is the system's folder for temporary files.
	TempDir string `json:"temp_dir,omitempty"`
}

// DefaultPIDs is [Policy.PIDs] at basic and strict, if that is 0 and there are as many.
const DefaultPIDs = 512

// Other defaults and bounds of a [Policy].
const (
	defaultTmpBytes  = 16 << 20
	defaultOpenFiles = 1024
	leastMemory      = 16 << 20
	leastData        = 128 << 20
	leastCPUs        = 0.01
	mostCPUs         = 1 << 16
	leastPIDs        = 8  // a Go program that serves has six threads
	leastOpenFiles   = 16 // and a dozen descriptors
	leastTmpBytes    = 4 << 10
)

// limited reports whether there is a limit that a plain process does not have.
func (p *Policy) limited() bool {
	return p.MemoryBytes > 0 || p.CPUs > 0 || p.PIDs > 0 || p.OpenFiles > 0 || p.FileBytes > 0
}

// complete fills in the defaults, and checks every field.
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
		if f.value != 0 && !(f.value >= f.low) { // not a number is refused too
			digits := func(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }
			return p, fmt.Errorf("limit is %s, the least is %s (Policy.%s)", digits(f.value), digits(f.low), f.name)
		}
	}
	if p.CPUs > mostCPUs { // a quota beyond what the kernel can hold is none
		return p, fmt.Errorf("limit is %v, the most is %d (Policy.CPUs)", p.CPUs, mostCPUs)
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

// forbidAtOff refuses fields that would promise what a plain process does not keep.
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

// taken are the folders of a strict worker's root that are its own.
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
