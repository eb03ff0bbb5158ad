package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
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
	hint := "parhost plugins list shows what there is; a path needs a slash: " + quote("./"+name)
	if isPath(name) {
		hint = "parhost new " + quote(filepath.Base(name)) + " makes a plugin to start from"
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
	build := goCommand(ctx, abs, "build", "-o", path)
	if !wantsC(ctx, abs) {
		build.Env = append(build.Env, "CGO_ENABLED=0")
	}
	out, err := build.CombinedOutput()
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return "", &exitError{code: exitNoWorker, err: fmt.Errorf("build %q: there is no go command here", dir), hint: "install Go, or give the path of an executable"}
	case err != nil:
		e := &exitError{code: exitNoWorker, err: fmt.Errorf("build %q: %w\n%s", dir, err, strings.TrimSpace(string(out)))}
		if bytes.Contains(out, []byte(ownToolchain)) {
			e.hint = "with GOTOOLCHAIN=auto in the environment Go fetches the version that the folder asks for"
		}
		return "", e
	}
	return path, nil
}

// ownToolchain is what the go command says when it is kept from running another version of itself.
const ownToolchain = "GOTOOLCHAIN=local"

// goCommand is a go command about the package in a folder that nobody may have looked at yet. The folder does not say what runs: it is not
// asked for its version, for which git would execute what .git/config names, and another version of Go, which go.mod may ask for, is fetched
// and executed only if the user's environment says so.
func goCommand(ctx context.Context, dir, verb string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "go", slices.Concat([]string{verb, "-buildvcs=false"}, args, []string{"."})...)
	cmd.Dir = dir
	cmd.Env = keepGo(cmd.Environ())
	return cmd
}

// keepGo keeps a go command from becoming another version of itself because of the folder it is started in.
func keepGo(env []string) []string {
	if _, set := os.LookupEnv("GOTOOLCHAIN"); set {
		return env
	}
	return append(env, ownToolchain)
}

// wantsC reports whether the package in a folder is to be built as the go command would by itself: the user's environment says something of C,
// or a package that it links has C in it. Those of the standard library have too, but do without; others may build without and not run,
// as some databases do.
func wantsC(ctx context.Context, dir string) bool {
	if _, set := os.LookupEnv("CGO_ENABLED"); set {
		return true
	}
	list := goCommand(ctx, dir, "list", "-deps", "-f", "{{if not .Standard}}{{range .CgoFiles}}{{.}} {{end}}{{range .SwigFiles}}{{.}} {{end}}{{range .SwigCXXFiles}}{{.}} {{end}}{{end}}")
	out, err := list.Output()
	return err != nil || strings.TrimSpace(string(out)) != "" // what is wrong with the package is for go build to say
}
