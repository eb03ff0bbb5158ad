package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/internal/gobuild"
	"github.com/parhost/parhost/protocol"
)

// building holds the settings for building Go package folders.
type building struct {
	cgo bool
	say func(format string, args ...any) // prints that a build has begun; nil prints nothing
}

func (b *building) flag(f *pflag.FlagSet) {
	f.BoolVar(&b.cgo, "cgo", false, "build a Go package folder with the C that is in it, by a compiler that can read only its modules and the system's libraries (Linux)")
}

// pluginConfig resolves the value of --plugin. A name is an executable parhost-plugin-NAME or, if there is none, the built-in workload of that name.
// A path is an executable. A folder is a Go package, which pluginConfig builds. A name after a colon selects one of several workloads that the plugin
// serves.
func pluginConfig(ctx context.Context, name string, dirs []string, b building) (host.Config, error) {
	plugin, workload := cutWorkload(name)
	cfg, err := findPlugin(ctx, plugin, dirs, b)
	if cfg.Workload == nil {
		cfg.PluginWorkload = workload
	} else if workload != "" {
		return cfg, usageError("write "+quote(plugin)+" alone", "plugin %q: what is linked into parhost has one workload", name)
	}
	return cfg, err
}

// cutWorkload splits a plugin's name at the colon before the workload. If a file with the whole name exists, the colon belongs to the file name.
func cutWorkload(name string) (plugin, workload string) {
	at := strings.LastIndexByte(name, ':')
	if at < 1 || at == len(name)-1 || strings.ContainsAny(name[at:], `/\`) {
		return name, ""
	}
	if _, err := os.Lstat(name); err == nil {
		return name, ""
	}
	return name[:at], name[at+1:]
}

func findPlugin(ctx context.Context, name string, dirs []string, b building) (host.Config, error) {
	if info, err := os.Stat(name); err == nil && info.IsDir() && isPath(name) {
		path, err := b.build(ctx, name)
		return host.Config{Plugin: path}, err
	}
	path, err := host.Find(name, dirs...)
	if err == nil {
		return host.Config{Plugin: path}, nil
	}
	for _, w := range builtin {
		if w.Manifest().Name == name && errors.Is(err, host.ErrNotFound) {
			return host.Config{Workload: w}, nil
		}
	}
	hint := "parhost plugins list shows what there is; a path needs a slash: " + quote("./"+name)
	if _, there := os.Stat(name); isPath(name) && there == nil {
		hint = "" // the error itself says what to do
	} else if isPath(name) {
		hint = "parhost new " + quote(filepath.Base(name)) + " makes a plugin to start from"
	}
	return host.Config{}, &exitError{code: exitNoWorker, err: err, hint: hint}
}

func isPath(name string) bool {
	return name == "." || name == ".." || strings.ContainsRune(name, '/') || strings.ContainsRune(name, filepath.Separator)
}

// build builds the Go package in a folder and returns the path of the executable.
func (b building) build(ctx context.Context, dir string) (string, error) {
	o := gobuild.Options{Cgo: b.cgo}
	if b.say != nil {
		o.Began = func() { b.say("parhost: building %s …", quote(dir)) }
		o.Outside = func(modules []string) {
			b.say("parhost: %s is built with modules that its go.mod or go.work names outside of it: %s", quote(dir), strings.Join(modules, ", "))
		}
	}
	path, err := gobuild.Build(ctx, dir, o)
	if err == nil {
		return path, nil
	}
	return "", &exitError{code: exitNoWorker, err: fmt.Errorf("build %q: %w", dir, err), hint: buildHint(err)}
}

// buildHint returns a hint for a folder that could not be built.
func buildHint(err error) string {
	var c *gobuild.CError
	const yourself = "go build makes an executable of it, which parhost takes as well; the build can then read what you can"
	switch {
	case errors.As(err, &c):
		return "--cgo compiles it; CGO_ENABLED=0 in the environment leaves it out, if the folder works without"
	case errors.Is(err, gobuild.ErrNoGo):
		return "install Go, or give the path of an executable"
	case errors.Is(err, gobuild.ErrToolchain):
		return "with GOTOOLCHAIN=auto in the environment Go fetches the version that the folder asks for"
	case errors.Is(err, gobuild.ErrLibrary):
		return "a plugin is a package main that calls sdk.Serve; parhost new makes one to start from"
	case errors.Is(err, gobuild.ErrNoWall):
		return "if you trust the folder: " + yourself
	case errors.Is(err, gobuild.ErrTooLarge):
		return "if you trust the folder: " + yourself
	case errors.Is(err, gobuild.ErrForbidden), errors.Is(err, gobuild.ErrOutside):
		return "a folder's build reads its sources, its modules and Go, and nothing else; if you trust it: " + yourself
	}
	if _, err := os.UserCacheDir(); err != nil {
		return "set HOME or XDG_CACHE_HOME to a folder of yours: what is built is kept there"
	}
	return ""
}

// examplesOf returns the examples of a manifest that a host has read.
func examplesOf(m protocol.Manifest) []json.RawMessage {
	texts := make([]json.RawMessage, len(m.Examples))
	for i, example := range m.Examples {
		texts[i], _ = example.(json.RawMessage)
	}
	return texts
}
