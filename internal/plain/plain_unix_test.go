//go:build unix

package plain_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/parhost/parhost/internal/plain"
)

// Each of these tests would block, or fill the memory, if the file were simply opened and read.

func TestWhatIsNoPlainFileIsRefusedAtOnce(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	socket, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(socket) })
	t.Chdir(dir)
	if err := errors.Join(
		unix.Mkfifo(path("pipe"), 0o600), os.Symlink("pipe", path("link to a pipe")), os.Symlink("/dev/zero", path("link to a device")),
		os.Symlink(".", path("link to a folder")), unix.Bind(socket, &unix.SockaddrUnix{Name: "socket"}),
	); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"pipe", "link to a pipe", "link to a device", "link to a folder", "socket"} {
		for call, err := range map[string]error{
			"Open":    func() error { _, err := plain.Open(path(name)); return err }(),
			"OpenOwn": func() error { _, err := plain.OpenOwn(path(name), 0o600); return err }(),
			"Read":    func() error { _, err := plain.Read(path(name), 10); return err }(),
		} {
			if !errors.As(err, new(*plain.KindError)) {
				t.Errorf("%s of a %s: got %v, want a KindError", call, name, err)
			}
		}
	}
	for _, name := range []string{"pipe", "link to a pipe"} {
		if folder, err := plain.OpenFolder(path(name)); !errors.Is(err, unix.ENOTDIR) {
			t.Errorf("OpenFolder of a %s: got %v and %v, want ENOTDIR", name, folder, err)
		}
	}
}

func TestAPlainFileMayLieBehindALinkToBeRead(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/file", "x")
	if err := os.Symlink("file", dir+"/link"); err != nil {
		t.Fatal(err)
	}
	if got, err := plain.Read(dir+"/link", 10); string(got) != "x" || err != nil {
		t.Errorf("Read: got %q and %v, want x", got, err)
	}
	if _, err := plain.OpenOwn(dir+"/link", 0o600); !errors.As(err, new(*plain.KindError)) {
		t.Errorf("OpenOwn: got %v, want a KindError", err)
	}
}

func TestNothingIsMadeThroughALink(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	write(t, outside+"/file", "kept")
	if err := errors.Join(
		os.Symlink(outside+"/file", dir+"/link"), os.Symlink(outside+"/new", dir+"/dangling"), os.Link(outside+"/file", dir+"/hard"),
	); err != nil {
		t.Fatal(err)
	}
	if _, err := plain.OpenOwn(dir+"/dangling", 0o600); err == nil {
		t.Error("OpenOwn of a link to nothing: got no error")
	}
	folder := openFolder(t, dir)
	if _, err := plain.Begin(folder, "dangling", 0o600); err == nil {
		t.Error("Begin of a link to nothing: got no error")
	}
	for _, name := range []string{"link", "dangling", "hard"} {
		if _, err := plain.Replace(folder, name, 0o600, []byte("new")); err != nil {
			t.Errorf("Replace of a %s: got %v", name, err)
		}
		if info, err := os.Lstat(dir + "/" + name); err != nil || !info.Mode().IsRegular() || read(t, dir+"/"+name) != "new" {
			t.Errorf("%s: got %v and %v, want a plain file with what is new", name, info, err)
		}
	}
	if got := read(t, outside+"/file"); got != "kept" {
		t.Errorf("what was linked: got %q, want it as it was", got)
	}
	checkNames(t, outside, "file")
}

// Files go into the folder that was opened, even if its path leads elsewhere later.
func TestReplaceStaysInItsFolder(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	if err := os.Mkdir(dir+"/out", 0o700); err != nil {
		t.Fatal(err)
	}
	folder := openFolder(t, dir+"/out")
	if err := errors.Join(os.Rename(dir+"/out", dir+"/away"), os.Symlink(outside, dir+"/out")); err != nil {
		t.Fatal(err)
	}
	if _, err := plain.Replace(folder, "file", 0o600, []byte("x")); err != nil {
		t.Fatal(err)
	}
	checkNames(t, outside)
	checkNames(t, dir+"/away", "file")
}

// A sparse file can be larger than any memory, and a file can grow while it is read.
func TestCopyEndsAtItsLimit(t *testing.T) {
	path := t.TempDir() + "/file"
	write(t, path, "x")
	if err := os.Truncate(path, 1<<40); err != nil {
		t.Skip("no file may be that large here: ", err)
	}
	if _, err := plain.Read(path, 1<<20); !errors.As(err, new(*plain.SizeError)) {
		t.Errorf("Read: got %v, want a SizeError", err)
	}
	if err := os.Truncate(path, 4); err != nil {
		t.Fatal(err)
	}
	f, err := plain.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	grows := writerFunc(func(p []byte) (int, error) {
		write(t, path, "12345678")
		return len(p), nil
	})
	if n, err := plain.Copy(grows, f, 5); !errors.As(err, new(*plain.SizeError)) || n != 5 {
		t.Errorf("Copy of a file that grows: got %d and %v, want 5 and a SizeError", n, err)
	}
}

type writerFunc func(p []byte) (int, error)

func (w writerFunc) Write(p []byte) (int, error) { return w(p) }

// The parent of a symbolic link to a folder is the parent of the link's target. A check by another rule than the kernel's would check another file.
func TestParentsOfLinksAreTheKernels(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	if err := errors.Join(os.MkdirAll("far/sub", 0o700), os.Symlink("far/sub", "link"), os.Symlink("link/../other", "file")); err != nil {
		t.Fatal(err)
	}
	write(t, "far/other", "")
	want, err := os.Stat("far/other")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"link/../other", "file", dir + "/link/../other"} {
		got, err := plain.Resolve(path)
		if err != nil {
			t.Fatal(err)
		}
		if is, err := os.Lstat(got); err != nil || !os.SameFile(is, want) {
			t.Errorf("Resolve of %q: got %q, want far/other", path, got)
		}
	}
}

// A file can be replaced even if its name has the greatest possible length.
func TestReplaceTakesTheLongestName(t *testing.T) {
	dir, name := t.TempDir(), strings.Repeat("x", 255)
	if _, err := plain.Replace(openFolder(t, dir), name, 0o600, []byte("y")); err != nil {
		t.Fatal(err)
	}
	if got := read(t, filepath.Join(dir, name)); got != "y" {
		t.Errorf("got %q, want y", got)
	}
}
