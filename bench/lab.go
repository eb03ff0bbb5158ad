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

// modules are the Python packages whose versions matter.
var modules = []string{"joblib", "mpire", "numpy", "pebble", "ray"}

// lab is what the turns need.
type lab struct {
	dir     string // of files that end with the session
	long    time.Duration
	parhost string            // the command
	echo    string            // a plugin that starts a program for each item
	sqrt    string            // the plugin of that name
	python  string            // "" if there is none
	has     map[string]string // Python itself and the packages that are there, with their versions
	spins   int64             // what takes a millisecond of CPU time
}

// openLab builds the command and looks for the peers in tools.
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
	for path, pkg := range map[*string]string{&l.parhost: "cmd/parhost", &l.echo: "bench/echo", &l.sqrt: "plugins/sqrt/parhost-plugin-sqrt"} {
		// Each in a folder of its own: a plugin beside the command would take the place of the workload linked in.
		*path = filepath.Join(l.dir, "bin", filepath.Base(pkg), filepath.Base(pkg)) + exeSuffix
		build := exec.CommandContext(ctx, "go", "build", "-o", *path, "github.com/parhost/parhost/"+pkg)
		build.Env = append(os.Environ(), "CGO_ENABLED=0") // as the README says
		if out, err := build.CombinedOutput(); err != nil {
			return fmt.Errorf("build %s: %w\n%s", pkg, err, out)
		}
	}
	return l.findPython(ctx, tools)
}

// findPython takes the Python that was set up in tools, else the machine's, else none.
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

// need returns the Python to run a script with that imports the modules.
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

// Close removes the files.
func (l *lab) Close() error { return os.RemoveAll(l.dir) }
