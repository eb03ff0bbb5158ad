package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/pflag"

	"github.com/parhost/parhost/host/sandbox"
	"github.com/parhost/parhost/internal/gobuild"
)

// confinement holds the flags for sandboxes and limits.
type confinement struct {
	level     string
	memory    string
	cpus      float64
	pids      int
	tmpSize   string
	fileSize  string
	openFiles int
	readOnly  []string
	readWrite []string
	allowNet  bool
	allowFork bool
}

func (c *confinement) flags(f *pflag.FlagSet) {
	f.StringVar(&c.level, "sandbox", "off", "off, basic (no privileges, files, sockets), strict (that, in namespaces of its own), or auto for the best that works here")
	f.StringVar(&c.memory, "memory", "", "the most memory of a worker, such as 512MiB; also without --sandbox, where a plugin that may write to cgroups can leave its own and is killed once that is seen")
	f.Float64Var(&c.cpus, "cpus", 0, "the most CPUs of a worker, such as 0.5; also without --sandbox")
	f.IntVar(&c.pids, "pids", 0, "the most processes and threads of a worker (default in a sandbox: 512, or its share of what there is); also without --sandbox")
	f.StringVar(&c.tmpSize, "tmp-size", "", "the size of /tmp in a strict sandbox (default 16MiB)")
	f.StringVar(&c.fileSize, "file-size", "", "how long a file may grow that a worker writes, such as 1GiB; also without --sandbox")
	f.IntVar(&c.openFiles, "open-files", 0, "the most open files of a worker; also without --sandbox (default in a sandbox 1024)")
	f.StringArrayVar(&c.readOnly, "ro", nil, "`SRC[:DST]`: a file or folder that sandboxed workers may read (may be repeated)")
	f.StringArrayVar(&c.readWrite, "rw", nil, "`SRC[:DST]`: one that they may change too, in which the plugin does not lie (may be repeated)")
	f.BoolVar(&c.allowNet, "allow-net", false, "let sandboxed workers use the network")
	f.BoolVar(&c.allowFork, "allow-fork", false, "let sandboxed workers start processes")
}

// policy turns the flags into a policy. For --sandbox auto it probes what this machine supports.
func (c *confinement) policy(ctx context.Context) (p sandbox.Policy, err error) {
	for _, size := range []struct {
		flag, text string
		to         *int64
	}{{"memory", c.memory, &p.MemoryBytes}, {"tmp-size", c.tmpSize, &p.TmpBytes}, {"file-size", c.fileSize, &p.FileBytes}} {
		if *size.to, err = parseBytes(size.flag, size.text); err != nil {
			return p, err
		}
	}
	p.CPUs, p.PIDs, p.OpenFiles = c.cpus, c.pids, c.openFiles
	p.AllowNet, p.AllowFork = c.allowNet, c.allowFork
	if p.ReadOnly, err = parseBinds("ro", c.readOnly); err != nil {
		return p, err
	}
	if p.ReadWrite, err = parseBinds("rw", c.readWrite); err != nil {
		return p, err
	}
	if c.level == "auto" {
		if p.Level, err = sandbox.Best(ctx, p); err != nil {
			return p, err
		}
	} else if err := p.Level.UnmarshalText([]byte(c.level)); err != nil {
		return p, usageError("write --sandbox auto, off, basic or strict", "--sandbox %q is no level", c.level)
	}
	if p.Level == sandbox.Off && (c.allowNet || c.allowFork || len(c.readOnly)+len(c.readWrite) > 0 || c.tmpSize != "") {
		if c.level == "auto" { // without a sandbox nothing is closed, so these flags have nothing to open
			p.AllowNet, p.AllowFork, p.ReadOnly, p.ReadWrite, p.TmpBytes = false, false, nil, nil, 0
			return p, nil
		}
		return p, usageError("add --sandbox basic, strict or auto", "--ro, --rw, --tmp-size, --allow-net and --allow-fork open a sandbox, and there is none")
	}
	if p.Level == sandbox.Basic && c.tmpSize != "" {
		if c.level != "auto" {
			return p, usageError("leave one of them out, or write --sandbox strict", "--tmp-size has no effect with --sandbox basic: only a strict sandbox has a /tmp of its own")
		}
		p.TmpBytes = 0
	}
	return p, nil
}

// policyOrWarning returns policy, and prints a warning if auto finds no sandbox that works.
func (c *confinement) policyOrWarning(ctx context.Context, s *streams) (sandbox.Policy, error) {
	p, err := c.policy(ctx)
	if err == nil && c.level == "auto" && p.Level == sandbox.Off {
		s.say("parhost: warning: no sandbox holds on this machine, so that --sandbox auto is none; parhost doctor says what is missing")
	}
	return p, err
}

// parseBinds parses the values of --ro and --rw: SRC or SRC:DST.
func parseBinds(flag string, entries []string) ([]sandbox.Bind, error) {
	var binds []sandbox.Bind
	for _, entry := range entries {
		source, target, _ := strings.Cut(entry, ":")
		if source == "" {
			return nil, usageError(fmt.Sprintf("write --%s SRC or --%s SRC:DST", flag, flag), "--%s %q names no file", flag, entry)
		}
		absolute, err := filepath.Abs(source)
		if err != nil {
			return nil, usageError("", "--%s %s: %v", flag, entry, err)
		}
		binds = append(binds, sandbox.Bind{Source: absolute, Target: target})
	}
	return binds, nil
}

// notConfined reports whether err says that the sandbox cannot be set up. If so, it also returns a hint, which may be empty.
func notConfined(err error) (hint string, ok bool) {
	var files *sandbox.NeedsFilesError
	var stage *sandbox.StageError
	switch {
	case errors.As(err, &files):
		return openHint(files), true
	case errors.Is(err, sandbox.ErrNotSupported) && errors.As(err, &stage) && (slices.Contains([]string{"cgroup", "limits", "processes"}, stage.Stage) || errors.Is(err, syscall.EFBIG)):
		return "", true // the error itself names the limit or says what to do
	case errors.Is(err, sandbox.ErrNotSupported):
		return "parhost doctor lists what this machine has for sandboxes; " + autoHint, true
	default:
		return "", false
	}
}

// openHint names the flags that open the folders which a plugin needs. The user must decide: the plugin's own file names these folders, so they may
// be anything.
func openHint(e *sandbox.NeedsFilesError) string {
	var flags []string
	for _, folder := range e.Folders {
		if strings.Contains(folder, ":") {
			return fmt.Sprintf("%q has a colon in its path, and cannot be opened: --ro SRC[:DST] would take it for two paths", folder)
		}
		flags = append(flags, "--ro "+quote(folder))
	}
	hint := "add " + strings.Join(flags, " ")
	if e.Static && !gobuild.Built(e.Path) { // parhost itself builds without cgo, unless the package needs cgo
		hint += ", or link it statically, so that it needs none (a Go program that needs no C: CGO_ENABLED=0)"
	}
	return hint
}
