package main

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

//go:embed peers/*.py
var scripts embed.FS

// modules are the Python packages whose versions the report names.
var modules = []string{"joblib", "mpire", "numpy", "pebble", "ray"}

// lab holds everything that the measurements need.
type lab struct {
	dir     string // temporary folder, removed at the end of the session
	long    time.Duration
	parhost string            // path of the parhost command
	echo    string            // path of a plugin that starts a program for each item
	sqrt    string            // path of the plugin parhost-plugin-sqrt
	bare    string            // path of the command that works with nothing in between
	python  string            // path of Python; "" if there is none
	has     map[string]string // versions of Python and of the installed packages, by name
	spins   int64             // number of spin steps that take one millisecond of CPU time
}

// openLab builds the commands and looks for the peers in the folder tools.
func openLab(ctx context.Context, tools string, long time.Duration) (*lab, error) {
	dir, err := os.MkdirTemp("", "parhost-bench-")
	if err != nil {
		return nil, err
	}
	l := &lab{dir: dir, long: long, spins: calibrate()}
	if err := l.set(ctx, tools); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

func (l *lab) set(ctx context.Context, tools string) error {
	if err := os.CopyFS(l.dir, scripts); err != nil {
		return err
	}
	for path, pkg := range map[*string]string{&l.parhost: "cmd/parhost", &l.echo: "bench/echo", &l.sqrt: "plugins/sqrt/parhost-plugin-sqrt", &l.bare: "bench/bare"} {
		// Each executable gets its own folder: a plugin beside the command would replace the built-in workload of the same name.
		*path = filepath.Join(l.dir, "bin", filepath.Base(pkg), filepath.Base(pkg)) + exeSuffix
		build := exec.CommandContext(ctx, "go", "build", "-o", *path, "github.com/parhost/parhost/"+pkg)
		build.Env = append(os.Environ(), "CGO_ENABLED=0") // the build that the README recommends
		if out, err := build.CombinedOutput(); err != nil {
			return fmt.Errorf("build %s: %w\n%s", pkg, err, out)
		}
	}
	return l.findPython(ctx, tools)
}

// findPython uses the Python in tools if there is one, else the Python in PATH, else none.
func (l *lab) findPython(ctx context.Context, tools string) error {
	private, err := filepath.Abs(filepath.Join(tools, "python", "bin", "python"))
	if err != nil {
		return err
	}
	for _, python := range []string{private, "python3"} {
		path, err := exec.LookPath(python)
		if err != nil {
			continue
		}
		out, err := exec.CommandContext(ctx, path, append([]string{l.script("versions")}, modules...)...).Output()
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		l.python = path
		return json.Unmarshal(out, &l.has)
	}
	return nil
}

func (l *lab) script(name string) string { return filepath.Join(l.dir, "peers", name+".py") }

// need returns the Python for a script that imports the modules. The error is a *missingError if Python or one of them is not installed.
func (l *lab) need(modules ...string) (string, error) {
	if l.python == "" {
		return "", &missingError{"python3"}
	}
	for _, m := range modules {
		if l.has[m] == "" {
			return "", &missingError{m}
		}
	}
	return l.python, nil
}

// Close removes the temporary folder.
func (l *lab) Close() error { return os.RemoveAll(l.dir) }
