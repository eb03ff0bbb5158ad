package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/parhost/parhost/host/sandbox"
	"github.com/parhost/parhost/sdk"
)

// nosy is the name under which this program is a plugin that inspects its surroundings before the host asks it anything.
const nosy = "parhost-plugin-nosy"

func beNosy() {
	_ = os.WriteFile(filepath.Join(os.Getenv("HOME"), "mark"), nil, 0o600)
	seen := "saw nothing"
	if _, err := os.Stat("/etc/passwd"); err == nil {
		seen = "saw /etc/passwd"
	}
	if _, err := os.ReadFile("/etc/passwd"); err == nil {
		seen = "read /etc/passwd"
	}
	sdk.Serve(sdk.Func("nosy", talk).With(sdk.Manifest{Version: "1", Description: seen}))
}

// haveSandbox returns the best sandbox level of this machine. It skips the test if there is none.
func haveSandbox(t *testing.T) sandbox.Level {
	t.Helper()
	best, err := sandbox.Best(t.Context(), sandbox.Policy{})
	if err == nil && best == sandbox.Off {
		err = sandbox.ErrNotSupported
	}
	if errors.Is(err, sandbox.ErrNotSupported) && (runtime.GOOS != "linux" || os.Geteuid() != 0) {
		t.Skipf("no sandbox here: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return best
}

// A user who asks what a plugin is has not agreed that the plugin may do everything that the user can do.
func TestPluginsAreAskedInASandbox(t *testing.T) {
	haveSandbox(t)
	t.Setenv("PARHOST_PLUGIN_PATH", "")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	plugin := filepath.Join(dir, nosy)
	if err := os.Symlink(self, plugin); err != nil {
		t.Fatal(err)
	}
	for name, args := range map[string][]string{
		"describe": {"plugins", "describe", plugin},
		"list":     {"plugins", "list", "--plugin-dir", dir},
		"lock":     {"plugins", "lock", plugin, "--lock", filepath.Join(dir, "lock")},
	} {
		t.Run(name, func(t *testing.T) {
			home := t.TempDir()
			t.Setenv("HOME", home)
			mark := filepath.Join(home, "mark")
			code, stdout, stderr := call(t, nil, args...)
			if code != exitOK || strings.Contains(stdout, "read /etc/passwd") || name != "lock" && !strings.Contains(stdout, "saw ") {
				t.Errorf("got exit code %d and %s, want what it is; stderr: %s", code, stdout, stderr)
			}
			if _, err := os.Stat(mark); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("got %v for what it left, want nothing to be there", err)
			}
			code, stdout, stderr = call(t, nil, append(args, "--sandbox", "off")...)
			if code != exitOK || name != "lock" && !strings.Contains(stdout, "read /etc/passwd") {
				t.Errorf("without a sandbox: got exit code %d and %s, want it to read what it likes; stderr: %s", code, stdout, stderr)
			}
			if _, err := os.Stat(mark); err != nil {
				t.Errorf("without a sandbox: got %v for what it left", err)
			}
		})
	}
}

// A plugin that does not start in a sandbox may only need to run without one. The command must not do that by itself, but say that there was a
// sandbox.
func TestAPluginThatDoesNotStartInASandboxSaysThatItWasInOne(t *testing.T) {
	best := haveSandbox(t)
	dir := t.TempDir()
	script := filepath.Join(dir, "parhost-plugin-script")
	if err := os.WriteFile(script, []byte("#!/bin/sh\nexit 7\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		code int
	}{
		{[]string{"plugins", "describe", script}, exitNoWorker},
		{[]string{"plugins", "lock", script, "--lock", filepath.Join(dir, "lock")}, exitNoWorker},
		{[]string{"plugins", "list", "--plugin-dir", dir}, exitOK},
	} {
		code, stdout, stderr := call(t, nil, c.args...)
		if text := strings.Join(strings.Fields(stdout+stderr), " "); code != c.code || !strings.Contains(text, "in sandbox "+best.String()) || !strings.Contains(stderr, "--sandbox off") {
			t.Errorf("%q: got exit code %d and %s, want %d, and that it was in a sandbox", c.args, code, text, c.code)
		}
		code, stdout, stderr = call(t, nil, append(c.args, "--sandbox", "off")...)
		if text := stdout + stderr; code != c.code || strings.Contains(text, "sandbox") {
			t.Errorf("%q --sandbox off: got exit code %d and %s, want %d, and nothing of a sandbox", c.args, code, text, c.code)
		}
	}
}

// A plugin's file names the folders that it needs to start. This must not open folders with secrets to it.
func TestNoSecretsAreOpenedToAPluginThatIsAsked(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("single files cannot be opened to a plugin on windows")
	}
	home, lures := t.TempDir(), t.TempDir()
	t.Setenv("HOME", home)
	own := filepath.Join(home, "Downloads", "theirs")
	if err := os.MkdirAll(own, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(home, filepath.Join(lures, "lib")); err != nil {
		t.Fatal(err)
	}
	linked := filepath.Join(lures, "home")
	if err := os.Symlink(home, linked); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		path    string
		folders []string
		want    bool
	}{
		"the system's":                    {filepath.Join(own, "x"), []string{"/usr", "/bin"}, true},
		"a script's own":                  {filepath.Join(own, "x"), []string{own, "/usr"}, true},
		"the user's":                      {filepath.Join(own, "x"), []string{"/usr", home}, false},
		"the one above":                   {filepath.Join(own, "x"), []string{filepath.Dir(own)}, false},
		"the user's, where a script lies": {filepath.Join(home, "x"), []string{home}, false},
		"all, where a script lies":        {"/x", []string{"/"}, false},
		"the user's, by another name":     {filepath.Join(linked, "x"), []string{linked}, false},
		"one that begins like the system's": {
			filepath.Join(own, "x"), []string{"/usrlocal"}, false,
		},
		"one by a detour":       {filepath.Join(own, "x"), []string{"/usr/.." + home}, false},
		"one by a link":         {filepath.Join(own, "x"), []string{filepath.Join(lures, "lib")}, false},
		"the working folder":    {filepath.Join(own, "x"), []string{"."}, false},
		"one that is not there": {filepath.Join(own, "x"), []string{"/usr/no such folder"}, false},
	} {
		if got := opensNoHarm(&sandbox.NeedsFilesError{Path: c.path, Folders: c.folders}); got != c.want {
			t.Errorf("%s: got %v for %q, want %v", name, got, c.folders, c.want)
		}
	}
}
