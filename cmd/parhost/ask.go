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
)

// asking is how plugins are started that are only asked what they are. Whoever asks that has not decided yet whether he trusts them.
type asking struct {
	level string
}

func (a *asking) flag(f *pflag.FlagSet) {
	f.StringVar(&a.level, "sandbox", "auto", "what confines plugins while they are asked what they are: off, basic, strict, or auto for the best that works here")
}

// ask asks a plugin what it is. One that needs the system's libraries gets them, because to read them is no harm.
func (a *asking) ask(ctx context.Context, cfg host.Config) (host.Manifest, error) {
	if cfg.Workload != nil { // it is this program, which runs already
		return host.Describe(ctx, cfg)
	}
	p, err := a.policy(ctx)
	if err != nil {
		return host.Manifest{}, err
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

// confinedError is why a plugin did not start that was asked in a sandbox, where it may not have found what it needs.
type confinedError struct {
	level sandbox.Level
	err   error
}

func (e *confinedError) Error() string { return fmt.Sprintf("in sandbox %s: %v", e.level, e.err) }
func (e *confinedError) Unwrap() error { return e.err }

// policy opens nothing, so that auto finds whatever there is.
func (a *asking) policy(ctx context.Context) (sandbox.Policy, error) {
	// But on Windows, which cannot close the network and has no sandbox for who wants it closed.
	c := confinement{level: a.level, allowNet: runtime.GOOS == "windows" && a.level != "off"}
	return c.policy(ctx)
}

// withoutSandbox is what to do about a plugin that does not start where it is confined.
const withoutSandbox = "it was started in a sandbox; --sandbox off starts it without, if you trust it"

// libraryFolders are where systems keep programs and libraries, which hold no secrets.
var libraryFolders = []string{"/bin", "/sbin", "/lib", "/lib32", "/lib64", "/usr", "/nix/store", "/gnu/store", "/opt/homebrew", "/System/Library"}

// opensNoHarm reports whether a plugin may read all folders that it needs to start. It is its file that names them: they are the system's, or the
// one that a script lies in, or the plugin wants something else than to start.
func opensNoHarm(e *sandbox.NeedsFilesError) bool {
	home, err := os.UserHomeDir()
	own := filepath.Dir(e.Path)
	if err != nil || within(own, home) || within(really(own), really(home)) {
		own = "" // nobody's folder but the user's
	}
	for _, folder := range e.Folders {
		if _, err := os.Stat(folder); err != nil || !filepath.IsAbs(folder) || !isLibraries(folder) && (own == "" || folder != own) {
			return false
		}
	}
	return true
}

// isLibraries reports whether a path leads to where systems keep programs and libraries.
func isLibraries(path string) bool {
	target, err := filepath.EvalSymlinks(path)
	return err == nil && filepath.IsAbs(path) && slices.ContainsFunc(libraryFolders, func(library string) bool { return within(library, target) })
}

// really is where a path leads to.
func really(path string) string {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		return target
	}
	return path
}

// within reports whether a path is a folder, or below it.
func within(folder, path string) bool {
	return path == folder || strings.HasPrefix(path, strings.TrimSuffix(folder, string(filepath.Separator))+string(filepath.Separator))
}
