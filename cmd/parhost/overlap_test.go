package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// A folder that workers may change must not hold any file that the host reads, writes or executes. The script overlap.txtar covers all these files.
func TestWhatWorkersMayChangeHoldsNoFileOfTheHost(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows opens no files to workers")
	}
	t.Chdir(t.TempDir())
	t.Setenv("HOME", t.TempDir())
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	if err := errors.Join(
		os.Mkdir("out", 0o700), os.Mkdir("away", 0o700), os.WriteFile("items", []byte("4"), 0o600),
		os.Symlink("out", "linked"), os.Symlink("../away", "out/away"), os.Link("items", "again"),
	); err != nil {
		t.Fatal(err)
	}
	for name, args := range map[string][]string{
		"the folder itself":             {"--rw", "out", "--dossier", "out", "4"},
		"what is not there yet":         {"--rw", "out", "--joblog", "out/new/run.joblog", "4"},
		"a link to it":                  {"--rw", "out", "--report", "linked/run.json", "4"},
		"a link in it":                  {"--rw", "out", "--report", "out/away/run.json", "4"},
		"another link of the same file": {"--rw", "again", "--input", "items"},
		"what is around it":             {"--rw", ".", "--report", "out/run.json", "4"},
		"a folder of plugins":           {"--rw", "out", "--plugin-dir", "out", "4"},
		"the folder of what it built":   {"--rw", os.Getenv("XDG_CACHE_HOME"), "4"},
		"one folder of several":         {"--rw", "away", "--rw", "out", "--report", "out/run.json", "4"},
		"in a sandbox that shows it as": {"--rw", "out:/elsewhere", "--report", "out/run.json", "--sandbox", "strict", "4"},
	} {
		if runtime.GOOS != "linux" && name == "the folder of what it built" {
			continue // on other systems it lies elsewhere
		}
		args = append(args, "-p", "sqrt")
		if !slices.Contains(args, "--sandbox") {
			args = append(args, "--sandbox", "basic")
		}
		code, _, stderr := call(t, nil, args...)
		if code != exitUsage || !strings.Contains(stderr, " lies in --rw ") {
			t.Errorf("%s: got exit code %d, want %d and what lies in --rw; stderr: %s", name, code, exitUsage, stderr)
		}
	}
	if _, err := os.Lstat("out/run.json"); err == nil {
		t.Error("the report has been written")
	}
}

// A worker that can read the key of dossiers could sign a dossier which says that no sandbox is needed.
func TestWorkersCannotBeShownTheKeyOfDossiers(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows opens no files to workers")
	}
	t.Chdir(t.TempDir())
	t.Setenv("HOME", t.TempDir())
	t.Setenv("XDG_STATE_HOME", "")
	key := keyPath()
	if err := errors.Join(
		os.MkdirAll(filepath.Dir(key), 0o700), os.WriteFile(key, make([]byte, keyBytes), 0o600), os.Mkdir("data", 0o700), os.Mkdir("linked", 0o700),
		os.WriteFile("dossier", []byte(`{"dossier":1,"item":4,"origin":{"workload":"sqrt","sha256":"","plugin":""}}`), 0o600), os.Symlink(filepath.Dir(key), "link"),
	); err != nil {
		t.Fatal(err)
	}
	check := func(name, folder string, want bool) {
		t.Helper()
		for _, args := range [][]string{{"-p", "sqrt", "4"}, {"replay", "dossier"}, {"plugins", "verify", "sqrt"}} {
			code, _, stderr := call(t, nil, append(args, "--sandbox", "basic", "--ro", folder)...)
			if got := code == exitUsage && strings.Contains(stderr, `the key of dossiers "`) && strings.Contains(stderr, " in --ro "); got != want {
				t.Errorf("%s, %q: got exit code %d and %s, refused for the key: %t, want %t", name, args, code, stderr, got, want)
			}
		}
	}
	check("the home", os.Getenv("HOME"), true)
	check("the key itself", key, true)
	check("a link to its folder", "link", true)
	check("a folder without it", "data", false)
	if err := os.Link(key, "linked/again"); err != nil {
		t.Fatal(err)
	}
	check("a hard link", "linked", true)
	if err := errors.Join(os.Remove("linked/again"), os.Remove(key)); err != nil {
		t.Fatal(err)
	}
	check("where it will be", filepath.Join(os.Getenv("HOME"), ".local"), true)
}

// A file of the host may have a second name (hard link) within --rw, although its first name lies elsewhere.
func TestNoFileOfTheHostHasAnotherNameWhereWorkersMayChangeIt(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows opens no files to workers")
	}
	t.Chdir(t.TempDir())
	const dossier = `{"dossier":1,"item":4,"origin":{"workload":"sqrt","sha256":"","plugin":""}}`
	for file, text := range map[string]string{
		"items": "4\n", "run.json": "{}", "run.joblog": "", "parhost.lock": `{"lock":1,"plugins":[]}`, "other.lock": `{"lock":1,"plugins":[]}`, "dossier": dossier, "plugin": "#!/bin/sh\n",
	} {
		if err := errors.Join(os.MkdirAll("out/deep", 0o700), os.WriteFile(file, []byte(text), 0o700)); err != nil {
			t.Fatal(err)
		}
	}
	sandboxed := []string{"--sandbox", "strict", "--rw", "out"}
	for file, args := range map[string][]string{
		"items":        {"-p", "sqrt", "--input", "items"},
		"run.json":     {"-p", "sqrt", "--report", "run.json", "4"},
		"run.joblog":   {"-p", "sqrt", "--joblog", "run.joblog", "--resume", "4"},
		"parhost.lock": {"-p", "sqrt", "4"},
		"other.lock":   {"-p", "sqrt", "--lock", "other.lock", "4"},
		"dossier":      {"replay", "dossier"},
		"plugin":       {"plugins", "verify", "./plugin"},
	} {
		if err := os.Link(file, "out/deep/again"); err != nil {
			t.Fatal(err)
		}
		code, _, stderr := call(t, nil, append(args, sandboxed...)...)
		if code != exitUsage || !strings.Contains(stderr, file+`" lies in --rw `) || !strings.Contains(stderr, `out/deep/again"`) || !strings.Contains(stderr, "use a copy") {
			t.Errorf("%s: got exit code %d, want %d, where its other name is and to copy it; stderr: %s", file, code, exitUsage, stderr)
		}
		if err := os.Rename("out/deep/again", "again"); err != nil {
			t.Fatal(err)
		}
		if _, _, stderr := call(t, nil, append(args, sandboxed...)...); strings.Contains(stderr, " lies in --rw ") {
			t.Errorf("%s, with another name elsewhere: got %s", file, stderr)
		}
		if err := os.Remove("again"); err != nil {
			t.Fatal(err)
		}
	}
}

// Whoever can change the tools that build a Go package folder decides what its plugin does.
func TestWhatWorkersMayChangeHoldsNothingThatBuilds(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows opens no files to workers")
	}
	home := t.TempDir()
	t.Chdir(home)
	for name, dir := range map[string]string{"GOCACHE": "go-build", "GOMODCACHE": "mod", "GOTMPDIR": "tmp", "GOENV": "env", "PATH": "bin"} {
		if err := os.MkdirAll(dir+"/in", 0o700); err != nil {
			t.Fatal(err)
		}
		value := filepath.Join(home, dir)
		switch name {
		case "GOENV":
			value = filepath.Join(value, "in", "file")
		case "PATH":
			value += string(filepath.ListSeparator) + os.Getenv(name)
		}
		t.Setenv(name, value)
	}
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	for folder, what := range map[string]string{
		"go-build": "GOCACHE", "go-build/in": "GOCACHE", "mod": "GOMODCACHE", "mod/in": "GOMODCACHE", "tmp": "GOTMPDIR", "env": "GOENV", "env/in": "GOENV", "bin": "PATH",
		strings.TrimSpace(string(root)): "GOROOT", filepath.Join(strings.TrimSpace(string(root)), "src"): "GOROOT",
	} {
		code, _, stderr := call(t, nil, "-p", "sqrt", "--sandbox", "strict", "--rw", folder, "4")
		if code != exitUsage || !strings.Contains(stderr, " lies in ") || !strings.Contains(stderr, what) && what != "GOROOT" {
			t.Errorf("%s: got exit code %d, want %d and that %s lies there; stderr: %s", folder, code, exitUsage, what, stderr)
		}
	}
	if _, _, stderr := call(t, nil, "-p", "sqrt", "--sandbox", "strict", "--rw", "bin/in", "4"); strings.Contains(stderr, " lies in ") {
		t.Errorf("a folder of its own: got %s", stderr)
	}
}
