//go:build linux

package sandbox_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/parhost/parhost/host/sandbox"
)

// interpreted returns the binds that a script for /bin/sh needs.
func interpreted(folders ...string) []sandbox.Bind {
	binds := append(libraries(), sandbox.Bind{Source: "/bin"})
	for _, folder := range folders {
		binds = append(binds, sandbox.Bind{Source: folder})
	}
	return binds
}

// writeScript writes a script for /bin/sh.
func writeScript(t *testing.T, path, text string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o755)); err != nil {
		t.Fatal(err)
	}
}

// A worker runs the script that was there when the box was opened, or does not start: workers of another pool may have replaced the file. This also
// holds without Landlock, where no rule keeps a worker from the new file.
func TestAScriptStaysWhatItWas(t *testing.T) {
	for layers, without := range map[string][]string{"all layers": nil, "without Landlock": {"landlock"}} {
		t.Run(layers, func(t *testing.T) {
			levels(t, func(t *testing.T, level sandbox.Level) {
				if level != sandbox.Off {
					scriptStays(t, level, without)
				}
			})
		})
	}
}

func scriptStays(t *testing.T, level sandbox.Level, without []string) {
	t.Helper()
	if err := sandbox.Rehearsed(t.Context(), level); errors.Is(err, sandbox.ErrNotSupported) && os.Geteuid() != 0 {
		t.Skip(err)
	}
	folder, private := openDir(t), openDir(t)
	script, secret := folder+"/script", private+"/secret"
	writeScript(t, script, "echo harmless\n")
	writeScript(t, secret, "echo harmless\n") // the same bytes, so that only the inode tells the files apart
	b, err := sandbox.OpenWithout(sandbox.Policy{Level: level, ReadOnly: interpreted(folder)}, script, without...)
	if errors.Is(err, sandbox.ErrNotSupported) && os.Geteuid() != 0 {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	w, err := startCmd(t, b, exec.Command(script), spawner(t))
	if err != nil {
		t.Fatal(err)
	}
	if text, d := w.rest(); text != "harmless\n" {
		t.Errorf("at first: got %q and %v, want harmless; stderr: %s", text, d, w.stderr)
	}
	for what, replace := range map[string]func(string, string) error{"a link": os.Symlink, "another file": os.Link} {
		if err := errors.Join(os.Rename(script, script+".away"), replace(secret, script)); err != nil {
			t.Fatal(err)
		}
		w, err := startCmd(t, b, exec.Command(script), spawner(t))
		if err == nil {
			text, d := w.rest()
			t.Errorf("%s in its place: got %q and %v, want no start", what, text, d)
		} else if !strings.Contains(err.Error(), "another file or folder than when the sandbox was opened") && !errors.Is(err, os.ErrNotExist) { // a private root may not show it
			t.Errorf("%s in its place: got the error %v, want one that says that it is another file", what, err)
		}
		if err := os.Rename(script+".away", script); err != nil {
			t.Fatal(err)
		}
	}
}

// A plugin is refused if workers could change it or a file that starts it.
func TestAPluginThatWorkersCouldChangeIsRefused(t *testing.T) {
	plugin, err := hostile()
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(plugin)
	if err != nil {
		t.Fatal(err)
	}
	base := openDir(t)
	write, other := base+"/write", base+"/other"
	if err := errors.Join(os.MkdirAll(write+"/bin", 0o777), os.Mkdir(other, 0o755), os.Symlink(write, base+"/link"),
		os.WriteFile(write+"/program", program, 0o755), os.Symlink(other+"/script", write+"/byLink"), os.Symlink("bin/../byLink", write+"/byLinks"),
		os.Symlink("/bin/sh", write+"/bin/sh"), os.WriteFile(other+"/venv", []byte("#!"+write+"/bin/sh\n"), 0o755), os.WriteFile(other+"/program", program, 0o755),
		os.Symlink(write+"/program", other+"/outward"), os.WriteFile(other+"/env", []byte("#!/usr/bin/env first\n"), 0o755), os.Symlink("/bin/cat", write+"/bin/first"),
	); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", write+"/bin:"+os.Getenv("PATH"))
	writeScript(t, write+"/script", "")
	writeScript(t, other+"/script", "")
	cases := map[string]struct {
		path, lies string
		change     []string
	}{
		"a program":                   {write + "/program", write + "/program", []string{write}},
		"a script":                    {write + "/script", write + "/script", []string{write}},
		"a script, by a link to it":   {base + "/link/script", "script", []string{write}},
		"a link there":                {write + "/byLink", write + "/byLink", []string{write}},
		"a chain of links there":      {write + "/byLinks", write + "/byLinks", []string{write}},
		"a link to there":             {other + "/outward", other + "/outward", []string{write}},
		"the file alone":              {other + "/script", other + "/script", []string{other + "/script"}},
		"an interpreter":              {other + "/venv", write + "/bin/sh", []string{write}},
		"an interpreter, by env":      {other + "/env", write + "/bin/first", []string{write}},
		"a folder, by a link as well": {write + "/script", write + "/script", []string{base + "/link"}},
		"with others":                 {write + "/program", write + "/program", []string{other + "/program", write}},
	}
	if _, err := exec.LookPath("gcc"); err == nil {
		source := base + "/main.c"
		if err := errors.Join(os.Mkdir(other+"/lib", 0o755), os.Mkdir(write+"/lib", 0o755), os.WriteFile(source, []byte("int answer(void) { return 0; }\nint main(void) { return 0; }\n"), 0o600)); err != nil {
			t.Fatal(err)
		}
		for _, args := range [][]string{
			{"-shared", "-fPIC", "-o", write + "/lib/libanswer.so", source},
			{"-o", other + "/dynamic", source},
			{"-o", other + "/needing", source, "-Wl,--no-as-needed", "-L" + write + "/lib", "-lanswer", "-Wl,-rpath,$ORIGIN/../write/lib"},
			{"-o", other + "/loaded", source, "-Wl,--dynamic-linker=" + write + "/lib/loader"},
		} {
			if out, err := exec.Command("gcc", args...).CombinedOutput(); err != nil {
				t.Fatalf("gcc %s: %v\n%s", args, err, out)
			}
		}
		c := cases["a program"]
		c.path, c.lies = other+"/needing", "write/lib"
		cases["a library"] = c
		c.path, c.lies = other+"/loaded", write+"/lib/loader"
		cases["a loader"] = c
	}
	for _, level := range []sandbox.Level{sandbox.Basic, sandbox.Strict} {
		if err := sandbox.Rehearsed(t.Context(), level); errors.Is(err, sandbox.ErrNotSupported) && os.Geteuid() != 0 {
			continue
		}
		for name, c := range cases {
			policy := sandbox.Policy{Level: level, ReadOnly: interpreted()}
			for _, folder := range c.change {
				policy.ReadWrite = append(policy.ReadWrite, sandbox.Bind{Source: folder})
			}
			b, err := sandbox.Open(t.Context(), policy, c.path, "")
			if err == nil {
				b.Close()
			}
			if err == nil || !strings.Contains(err.Error(), "which workers may change (--rw") || !strings.Contains(err.Error(), c.lies) {
				t.Errorf("%s, %s: got %v, want an error that says that %s can be changed", level, name, err, c.lies)
			}
		}
		policy := sandbox.Policy{Level: level, ReadOnly: interpreted(other), ReadWrite: []sandbox.Bind{{Source: write}}}
		for _, path := range []string{plugin, other + "/program", other + "/script", other + "/dynamic"} {
			if _, err := os.Stat(path); err != nil {
				continue
			}
			b, err := sandbox.Open(t.Context(), policy, path, "")
			if err != nil {
				t.Errorf("%s, %s, which nobody can change: got the error %v", level, path, err)
				continue
			}
			b.Close()
		}
	}
}

// Workers cannot move the folder of the sockets, even if the host is root.
func TestWorkersCannotMoveTheFolderOfSockets(t *testing.T) {
	plugin, err := hostile()
	if err != nil {
		t.Fatal(err)
	}
	open := func(policy sandbox.Policy) error {
		policy.Level = sandbox.Basic
		b, err := sandbox.Open(t.Context(), policy, plugin, "")
		if err == nil {
			b.Close()
		}
		if errors.Is(err, sandbox.ErrNotSupported) && os.Geteuid() != 0 {
			t.Skip(err)
		}
		return err
	}
	above := fmt.Sprintf("/tmp/parhost-above-%d", os.Getpid()) // a short name, because paths of sockets are limited and lie below it
	if err := os.Mkdir(above, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(above) })
	temp := above + "/temp"
	if err := errors.Join(os.Mkdir(temp, 0o777), os.Chmod(temp, 0o777), os.Chmod(above, 0o777)); err != nil {
		t.Fatal(err)
	}
	policy := sandbox.Policy{TempDir: temp, ReadWrite: []sandbox.Bind{{Source: above}}}
	if err := open(policy); err == nil || !strings.Contains(err.Error(), "holds the sockets of workers") {
		t.Errorf("a folder in which others may rename: got %v, want an error that says what it holds", err)
	}
	if os.Geteuid() != 0 {
		return
	}
	if err := errors.Join(os.Chmod(temp, 0o777|os.ModeSticky), os.Chmod(above, 0o777|os.ModeSticky)); err != nil {
		t.Fatal(err)
	}
	if err := open(policy); err != nil {
		t.Errorf("a folder in which others may not rename: got the error %v", err)
	}
}
