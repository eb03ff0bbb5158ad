package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/host/sandbox"
	"github.com/parhost/parhost/protocol"
)

// asking holds the flags for starting a plugin only to read its manifest. The user of such a command may not trust the plugin yet, so the plugin runs
// in a sandbox by default.
type asking struct {
	level string
}

func (a *asking) flag(f *pflag.FlagSet) {
	f.StringVar(&a.level, "sandbox", "auto", "what confines plugins while they are asked what they are: off, basic, strict, or auto for the best that works here")
}

// ask starts a plugin and returns its manifest. If the plugin cannot start without folders of system libraries, ask opens them for reading, because
// these hold no secrets.
func (a *asking) ask(ctx context.Context, cfg host.Config) (protocol.Manifest, error) {
	if cfg.Workload != nil { // the workload is part of this program, which runs already
		return host.Describe(ctx, cfg)
	}
	p, err := a.policy(ctx)
	if err != nil {
		return protocol.Manifest{}, err
	}
	cfg.Sandbox = p
	m, err := host.Describe(ctx, cfg)
	if needs, ok := errors.AsType[*sandbox.NeedsFilesError](err); ok && opensNoHarm(needs) {
		for _, folder := range needs.Folders {
			cfg.Sandbox.ReadOnly = append(cfg.Sandbox.ReadOnly, sandbox.Bind{Source: folder})
		}
		m, err = host.Describe(ctx, cfg)
	}
	_, started := errors.AsType[*host.StartError](err)
	if p.Level > sandbox.Off && (started || errors.Is(err, sandbox.ErrNeedsFiles)) {
		err = &confinedError{p.Level, err}
	}
	return m, err
}

// confinedError says that a plugin did not start in a sandbox. The sandbox may have hidden something that the plugin needs.
type confinedError struct {
	level sandbox.Level
	err   error
}

func (e *confinedError) Error() string { return fmt.Sprintf("in sandbox %s: %v", e.level, e.err) }
func (e *confinedError) Unwrap() error { return e.err }

// policy returns the sandbox of an asked plugin. It grants no access, so that auto can choose the best level that works here.
func (a *asking) policy(ctx context.Context) (sandbox.Policy, error) {
	// The exception is Windows, which cannot block the network: a sandbox there exists only if the network is allowed.
	c := confinement{level: a.level, allowNet: runtime.GOOS == "windows" && a.level != "off"}
	return c.policy(ctx)
}

// withoutSandbox is the hint for a plugin that does not start in a sandbox.
const withoutSandbox = "it was started in a sandbox; --sandbox off starts it without, if you trust it"

// libraryFolders are the folders in which systems keep programs and libraries. They hold no secrets.
var libraryFolders = []string{"/bin", "/sbin", "/lib", "/lib32", "/lib64", "/usr", "/nix/store", "/gnu/store", "/opt/homebrew", "/System/Library"}

// opensNoHarm reports whether a plugin may read all the folders that it needs to start. The plugin's own file names these folders, so it could name
// any: only folders of the system, and the folder of a script itself, are harmless.
func opensNoHarm(e *sandbox.NeedsFilesError) bool {
	home, err := os.UserHomeDir()
	own := filepath.Dir(e.Path)
	if err != nil || within(own, home) || within(really(own), really(home)) {
		own = "" // do not open the home folder, or a folder that contains it
	}
	for _, folder := range e.Folders {
		if _, err := os.Stat(folder); err != nil || !filepath.IsAbs(folder) || !isLibraries(folder) && (own == "" || folder != own) {
			return false
		}
	}
	return true
}

// isLibraries reports whether a path leads into one of the library folders.
func isLibraries(path string) bool {
	target, err := filepath.EvalSymlinks(path)
	return err == nil && filepath.IsAbs(path) && slices.ContainsFunc(libraryFolders, func(library string) bool { return within(library, target) })
}

// really returns the path with symbolic links resolved, or the path itself if that fails.
func really(path string) string {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		return target
	}
	return path
}

// within reports whether path is folder or lies below it.
func within(folder, path string) bool {
	return path == folder || strings.HasPrefix(path, strings.TrimSuffix(folder, string(filepath.Separator))+string(filepath.Separator))
}
