package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/parhost/parhost/host"
)

// pluginConfig finds out what --plugin means: an executable parhost-plugin-NAME wins over the workload of that name that is
// linked in, a path is an executable, and a folder is a Go package, which it builds.
func pluginConfig(ctx context.Context, name string, dirs []string) (host.Config, error) {
	if info, err := os.Stat(name); err == nil && info.IsDir() && isPath(name) {
		path, err := buildPlugin(ctx, name)
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
	hint := "parhost plugins list shows what there is; a path needs a slash: ./" + name
	if isPath(name) {
		hint = "parhost new " + filepath.Base(name) + " makes a plugin to start from"
	}
	return host.Config{}, &exitError{code: exitNoWorker, err: err, hint: hint}
}

func isPath(name string) bool {
	return name == "." || name == ".." || strings.ContainsRune(name, '/') || strings.ContainsRune(name, filepath.Separator)
}

// buildPlugin builds the Go package in a folder into the user's cache, where Go's own cache makes it a matter of a moment the
// next time, and returns the executable's path. A package that has no C in it is linked statically: in a sandbox it then needs no files.
func buildPlugin(ctx context.Context, dir string) (string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", &exitError{code: exitNoWorker, err: fmt.Errorf("build %q: %w", dir, err), hint: "set XDG_CACHE_HOME or HOME"}
	}
	sum := sha256.Sum256([]byte(abs))
	path := filepath.Join(cache, "parhost", "plugins", hex.EncodeToString(sum[:8]), filepath.Base(abs))
	if runtime.GOOS == "windows" {
		path += ".exe"
	}
	build := exec.CommandContext(ctx, "go", "build", "-o", path, ".")
	build.Dir = abs
	if !wantsC(ctx, abs) {
		build.Env = append(build.Environ(), "CGO_ENABLED=0")
	}
	out, err := build.CombinedOutput()
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return "", &exitError{code: exitNoWorker, err: fmt.Errorf("build %q: there is no go command here", dir), hint: "install Go, or give the path of an executable"}
	case err != nil:
		return "", &exitError{code: exitNoWorker, err: fmt.Errorf("build %q: %w\n%s", dir, err, strings.TrimSpace(string(out)))}
	}
	return path, nil
}

// wantsC reports whether the package in a folder is to be built as the go command would by itself: the user's environment says something of C,
// or a package that it links has C in it. Those of the standard library have too, but do without; others may build without and not run,
// as some databases do.
func wantsC(ctx context.Context, dir string) bool {
	if _, set := os.LookupEnv("CGO_ENABLED"); set {
		return true
	}
	list := exec.CommandContext(ctx, "go", "list", "-deps", "-f", "{{if not .Standard}}{{range .CgoFiles}}{{.}} {{end}}{{range .SwigFiles}}{{.}} {{end}}{{range .SwigCXXFiles}}{{.}} {{end}}{{end}}", ".")
	list.Dir = dir
	out, err := list.Output()
	return err != nil || strings.TrimSpace(string(out)) != "" // what is wrong with the package is for go build to say
}
