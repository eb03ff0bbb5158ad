//go:build linux

package sandbox_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/parhost/parhost/host/sandbox"
)

// confined runs a test at basic and strict, as far as this machine supports them.
func confined(t *testing.T, test func(t *testing.T, level sandbox.Level)) {
	for _, level := range []sandbox.Level{sandbox.Basic, sandbox.Strict} {
		t.Run(level.String(), func(t *testing.T) {
			if err := sandbox.Rehearsed(t.Context(), level); errors.Is(err, sandbox.ErrNotSupported) && os.Geteuid() != 0 {
				t.Skip(err)
			}
			test(t, level)
		})
	}
}

// ends runs a command in a box whose policy opens nothing, and returns its exit code.
func ends(t *testing.T, level sandbox.Level, args ...string) int {
	t.Helper()
	w, err := startCmd(t, mustOpen(t, sandbox.Policy{Level: level}, args[0]), exec.Command(args[0], args[1:]...), spawner(t))
	if err != nil {
		t.Fatal(err)
	}
	_, d := w.rest()
	if d.Code < 0 {
		t.Errorf("got %v; stderr: %s", d, w.stderr)
	}
	return d.Code
}

// compile runs the C compiler, or skips the test if there is none.
func compile(t *testing.T, args ...string) {
	t.Helper()
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Skipf("%v: %v", sandbox.ErrNotSupported, err)
	}
	if out, err := exec.Command("gcc", args...).CombinedOutput(); err != nil {
		t.Fatalf("gcc %s: %v\n%s", args, err, out)
	}
}

func writeFiles(t *testing.T, files map[string]string) {
	t.Helper()
	for name, text := range files {
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(text), 0o644), os.Chmod(name, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
}

// A box opens a program's own loader and libraries to it, and those of a shell that runs a script.
func TestDynamicProgramsNeedNothing(t *testing.T) {
	script := filepath.Join(openDir(t), "script")
	writeScript(t, script, "exit 7\n")
	byEnv := filepath.Join(openDir(t), "script")
	if err := os.WriteFile(byEnv, []byte("#!/usr/bin/env sh\nexit 7\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	confined(t, func(t *testing.T, level sandbox.Level) {
		for name, args := range map[string][]string{"a program": {"/bin/sh", "-c", "exit 7"}, "a script": {script}, "a script by env": {byEnv}} {
			if got := ends(t, level, args...); got != 7 {
				t.Errorf("%s: got exit code %d, want 7", name, got)
			}
		}
		opened, err := sandbox.Loaded("/bin/sh")
		if err != nil || len(opened) < 2 {
			t.Fatalf("Loaded: got %q and %v, want a loader and libraries", opened, err)
		}
		layers := strings.Join(mustOpen(t, sandbox.Policy{Level: level}, "/bin/sh").Layers(), "; ")
		for _, name := range opened {
			if !strings.Contains(layers, name) {
				t.Errorf("got the layers %s, want %s among them", layers, name)
			}
		}
	})
}

// Libraries are found by the loader's rules: beside the program, in the folders of the library that names them, and through links.
func TestLibrariesAreFoundAsTheLoaderFindsThem(t *testing.T) {
	dir := openDir(t)
	writeFiles(t, map[string]string{
		dir + "/inner.c": "int inner(void) { return 3; }\n", dir + "/outer.c": "int inner(void);\nint outer(void) { return inner() + 4; }\n",
		dir + "/main.c": "int outer(void);\nint main(void) { return outer(); }\n", dir + "/lib/deep/none": "", dir + "/bin/none": "",
	})
	compile(t, "-shared", "-fPIC", "-o", dir+"/lib/deep/libinner.so.1.2", "-Wl,-soname,libinner.so.1", dir+"/inner.c")
	if err := os.Symlink("libinner.so.1.2", dir+"/lib/deep/libinner.so.1"); err != nil {
		t.Fatal(err)
	}
	compile(t, "-shared", "-fPIC", "-o", dir+"/lib/libouter.so", dir+"/outer.c", dir+"/lib/deep/libinner.so.1", "-Wl,-rpath,$ORIGIN/deep")
	for name, flag := range map[string]string{"runpath": "-Wl,--enable-new-dtags", "rpath": "-Wl,--disable-new-dtags"} {
		main := dir + "/bin/" + name
		compile(t, "-o", main, dir+"/main.c", "-L"+dir+"/lib", "-louter", "-Wl,-rpath,$ORIGIN/../lib", "-Wl,-rpath-link,"+dir+"/lib/deep", flag)
		confined(t, func(t *testing.T, level sandbox.Level) {
			if got := ends(t, level, main); got != 7 {
				t.Errorf("%s: got exit code %d, want 7", name, got)
			}
		})
	}
}

// A program may name files as its libraries in order to read them. Only libraries are opened to it, and by a host that is root only those that every
// user may read.
func TestWhatIsNoLibraryIsNotOpened(t *testing.T) {
	dir := openDir(t)
	writeFiles(t, map[string]string{dir + "/lib.c": "int answer(void) { return 0; }\n", dir + "/main.c": "int answer(void);\nint main(void) { return answer(); }\n", dir + "/secret": "a secret\n"})
	library := dir + "/library"
	compile(t, "-shared", "-fPIC", "-o", library, dir+"/lib.c")
	compile(t, "-o", dir+"/main", dir+"/main.c", library) // linked by its path, because it has no soname
	loads := func() bool {
		opened, err := sandbox.Loaded(dir + "/main")
		if err != nil {
			t.Fatal(err)
		}
		return slices.Contains(opened, library)
	}
	if !loads() {
		t.Error("a library that everybody may read is not opened")
	}
	program, err := os.ReadFile("/bin/sh")
	if err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(library)
	if err != nil {
		t.Fatal(err)
	}
	put := func(content []byte, mode os.FileMode) error {
		return errors.Join(os.Remove(library), os.WriteFile(library, content, 0o600), os.Chmod(library, mode))
	}
	for name, replace := range map[string]func() error{
		"a text":         func() error { return put([]byte("root:$6$secret\n"), 0o644) },
		"a program":      func() error { return put(program, 0o755) },
		"a link":         func() error { return errors.Join(os.Remove(library), os.Symlink(dir+"/secret", library)) },
		"a pipe":         func() error { return errors.Join(os.Remove(library), intruders["pipe"](library)) },
		"a device":       func() error { return errors.Join(os.Remove(library), os.Symlink("/dev/zero", library)) },
		"half a library": func() error { return put(good[:100], 0o644) },
		"one of others":  func() error { return put(good, 0o600) },
	} {
		if name == "one of others" && os.Geteuid() != 0 {
			continue // the file belongs to this user, and workers run as the same user
		}
		if err := replace(); err != nil {
			t.Fatal(err)
		}
		if loads() {
			t.Errorf("%s: it is opened", name)
		}
	}
	if err := errors.Join(put(good, 0o644), os.Chmod(dir, 0o700)); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 && loads() {
		t.Error("a library in a folder that others cannot enter is opened")
	}
}

// A program that names thousands of folders is refused quickly. A program that names files through /proc gets none of them.
func TestAProgramThatNamesManyFoldersIsRefused(t *testing.T) {
	dir := openDir(t)
	files := map[string]string{dir + "/main.c": "int main(void) { return 7; }\n", dir + "/lib.c": "int answer(void) { return 0; }\n"}
	writeFiles(t, files)
	args := []string{"-o", dir + "/main", dir + "/main.c", "-Wl,--no-as-needed", "-L" + dir, "-Wl,-rpath," + strings.Repeat("/x:", 4000) + "/y"}
	for i := range 10 {
		name := fmt.Sprintf("libmany%d", i)
		compile(t, "-shared", "-fPIC", "-o", dir+"/"+name+".so", dir+"/lib.c", "-Wl,-soname,"+name+".so.gone")
		args = append(args, "-l"+strings.TrimPrefix(name, "lib"))
	}
	compile(t, args...)
	if _, err := sandbox.Loaded(dir + "/main"); err == nil || !strings.Contains(err.Error(), "more than 32768 places") {
		t.Errorf("got %v, want that these are too many places", err)
	}
	self := fmt.Sprintf("/proc/%d/root%s/liblocal.so", os.Getpid(), dir)
	compile(t, "-shared", "-fPIC", "-o", dir+"/liblocal.so", dir+"/lib.c")
	compile(t, "-o", dir+"/other", dir+"/main.c", "-Wl,--no-as-needed", self) // the program names the library by this path
	if opened, err := sandbox.Loaded(dir + "/other"); err != nil || slices.Contains(opened, self) {
		t.Errorf("by /proc: got %q and %v, want it left out", opened, err)
	}
}

// A program gets the libraries that were there when the box was opened, or does not start.
func TestALibraryThatIsReplacedStartsNoWorker(t *testing.T) {
	confined(t, func(t *testing.T, level sandbox.Level) {
		dir := openDir(t)
		writeFiles(t, map[string]string{dir + "/lib.c": "int answer(void) { return 7; }\n", dir + "/other.c": "int answer(void) { return 8; }\n", dir + "/main.c": "int answer(void);\nint main(void) { return answer(); }\n"})
		compile(t, "-shared", "-fPIC", "-o", dir+"/libanswer.so", dir+"/lib.c")
		compile(t, "-shared", "-fPIC", "-o", dir+"/other.so", dir+"/other.c")
		compile(t, "-o", dir+"/main", dir+"/main.c", "-L"+dir, "-lanswer", "-Wl,-rpath,"+dir)
		b := mustOpen(t, sandbox.Policy{Level: level}, dir+"/main")
		w, err := startCmd(t, b, exec.Command(dir+"/main"), spawner(t))
		if err != nil {
			t.Fatal(err)
		}
		if _, d := w.rest(); d.Code != 7 {
			t.Errorf("got %v, want exit code 7; stderr: %s", d, w.stderr)
		}
		if err := os.Rename(dir+"/other.so", dir+"/libanswer.so"); err != nil {
			t.Fatal(err)
		}
		if _, err := startCmd(t, b, exec.Command(dir+"/main"), spawner(t)); !errors.As(err, new(*sandbox.ChangedError)) {
			t.Errorf("got %v, want a ChangedError", err)
		}
	})
}
