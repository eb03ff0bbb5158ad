package gobuild_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/parhost/parhost/internal/gobuild"
	"github.com/parhost/parhost/internal/plain"
)

// A few lines of assembly can expand to any amount of text: each macro contains the one before it twice.
func TestABuildHasSoMuchMemoryAndNoMore(t *testing.T) {
	ownCache(t)
	gobuild.SetMemory(t, 512<<20)
	dir := t.TempDir()
	var macros strings.Builder
	macros.WriteString("#define A0 x x\n")
	for i := range 40 {
		fmt.Fprintf(&macros, "#define A%d A%d A%d\n", i+1, i, i)
	}
	tree{"go.mod": goMod, "main.go": "package main\n\nfunc f()\n\nfunc main() { f() }\n", "a.s": macros.String() + "TEXT ·f(SB), 4, $0\n\tMOVQ A40\n\tRET\n"}.write(t, dir)
	_, err := gobuild.Build(t.Context(), dir, gobuild.Options{})
	if !errors.Is(err, gobuild.ErrTooLarge) {
		t.Errorf("got the error %.1000v, want one that matches ErrTooLarge", err)
	}
	if text := fmt.Sprint(err); len(text) > 100<<10 {
		t.Errorf("got an error of %d bytes", len(text))
	}
}

// The go command would block on a pipe, and read a device until memory runs out.
func TestFilesThatSayWhichModulesThereAreArePlain(t *testing.T) {
	for name, c := range map[string]struct {
		link string
		size int64
	}{"pipe": {}, "device": {link: "/dev/zero"}, "large": {size: 1 << 40}} {
		for _, file := range []string{"go.mod", "go.sum", "go.work", "go.work.sum", "vendor/modules.txt"} {
			ownCache(t)
			dir := t.TempDir()
			tree{"go.mod": goMod, "main.go": "package main\n\nfunc main() {}\n"}.write(t, dir)
			path := filepath.Join(dir, file)
			_ = os.Remove(path)
			err := os.MkdirAll(filepath.Dir(path), 0o700)
			switch {
			case err != nil:
			case c.link != "":
				err = os.Symlink(c.link, path)
			case c.size > 0:
				if err = os.WriteFile(path, nil, 0o600); err == nil {
					err = os.Truncate(path, c.size)
				}
			default:
				err = unix.Mkfifo(path, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			done := make(chan error, 1)
			go func() {
				_, err := gobuild.Build(t.Context(), dir, gobuild.Options{})
				done <- err
			}()
			select {
			case err = <-done:
			case <-time.After(time.Minute):
				t.Fatalf("%s, %s: the build waits", name, file)
			}
			_, kind := errors.AsType[*plain.KindError](err)
			_, size := errors.AsType[*plain.SizeError](err)
			if kind != (c.size == 0) || size != (c.size > 0) {
				t.Errorf("%s, %s: got the error %v, want that of package plain", name, file, err)
			}
		}
	}
}

// The go command opens all files that have the name of a source file, and the go.mod of each module that replaces another or belongs to a workspace.
func TestABuildWaitsForNoFile(t *testing.T) {
	ownCache(t)
	const imports = "package main\n\nimport _ \"example.com/%s\"\n\nfunc main() {}\n"
	var builds sync.WaitGroup
	defer builds.Wait()
	for pipe, files := range map[string]tree{
		"x.go":          {},
		"x_test.go":     {},
		"x.s":           {},
		"x.syso":        {},
		"default.pgo":   {},
		"real.c":        {"x.c": "-> real.c"},
		"sub/x.go":      {"main.go": fmt.Sprintf(imports, "m/sub"), "sub/sub.go": "package sub\n"},
		"other/sub/x.h": {"main.go": fmt.Sprintf(imports, "m/sub/sub"), "sub": "-> other", "other/sub/sub.go": "package sub\n"},
		"replacement/go.mod": {
			"go.mod":           "module example.com/m\n\ngo 1.26\n\nrequire example.com/r v0.0.0\n\nreplace example.com/r => ./replacement\n",
			"main.go":          fmt.Sprintf(imports, "r"),
			"replacement/r.go": "package r\n",
		},
		"used/go.mod": {"go.work": "go 1.26\n\nuse (\n\t.\n\t./used\n)\n"},
	} {
		dir := t.TempDir()
		tree{"go.mod": "module example.com/m\n\ngo 1.26\n", "main.go": "package main\n\nfunc main() {}\n"}.write(t, dir)
		files.write(t, dir)
		path := filepath.Join(dir, pipe)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), unix.Mkfifo(path, 0o600)); err != nil {
			t.Fatal(err)
		}
		builds.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			_, err := gobuild.Build(ctx, dir, gobuild.Options{})
			if e, ok := errors.AsType[*plain.KindError](err); !ok || e.Mode.Type() != fs.ModeNamedPipe || !strings.HasPrefix(e.Path, dir) {
				t.Errorf("%s is a pipe: got %v, want a KindError of a pipe", pipe, err)
			}
		})
	}
}

// Unusual file names, and folders whose names are those of source files, do not make a slow build fail.
func TestOnlyWhatGoOpensHasToBePlain(t *testing.T) {
	dir := t.TempDir()
	tree{"go.mod": "module example.com/m\n\ngo 1.26\n", "main.go": "package main\n\nfunc main() {}\n", "loop": "-> .", "lost.go": "-> nothing", "d.go/x": ""}.write(t, dir)
	if err := errors.Join(unix.Mkfifo(filepath.Join(dir, "events"), 0o600), unix.Mkfifo(filepath.Join(dir, "go"), 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := gobuild.FindSpecial(t.Context(), dir); err != nil {
		t.Errorf("got %v, want none", err)
	}
}

// When the go command reports its settings, it executes the C compiler that the user's settings name. That happens outside the Landlock confinement.
func TestToAskForTheSettingsExecutesNoCompiler(t *testing.T) {
	ownCache(t)
	dir := t.TempDir()
	tree{
		"theirs/go.mod": goMod, "theirs/main.go": "package main\n\nfunc main() {}\n", "cc": "#!/bin/sh\n: >" + dir + "/executed\n",
		"config/go/env": "CC=" + dir + "/cc\nCXX=" + dir + "/cc\n",
	}.write(t, dir)
	if err := os.Chmod(filepath.Join(dir, "cc"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("XDG_CONFIG_HOME", filepath.Join(dir, "config"))
	for _, key := range []string{"CC", "CXX", "GOENV"} {
		t.Setenv(key, "")
		if err := os.Unsetenv(key); err != nil {
			t.Fatal(err)
		}
	}
	settings, err := gobuild.Settings(t.Context())
	if err != nil || settings["CC"] != filepath.Join(dir, "cc") {
		t.Errorf("got the compiler %q and %v, want that of the settings", settings["CC"], err)
	}
	for _, cgo := range []bool{false, true} {
		if _, err := gobuild.Build(t.Context(), filepath.Join(dir, "theirs"), gobuild.Options{Cgo: cgo}); err != nil {
			t.Errorf("cgo %v: got the error %v", cgo, err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "executed")); err == nil {
		t.Error("the compiler was executed")
	}
}
