package plain_test

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/parhost/parhost/internal/plain"
)

func TestReadHasALimit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	write(t, path, "12345")
	if got, err := plain.Read(path, 5); string(got) != "12345" || err != nil {
		t.Errorf("with a limit of its size: got %q and %v", got, err)
	}
	var size *plain.SizeError
	if _, err := plain.Read(path, 4); !errors.As(err, &size) || size.Most != 4 {
		t.Errorf("with a smaller limit: got %v, want a SizeError of 4 bytes", err)
	}
	if _, err := plain.Read(path+"x", 5); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("of nothing: got %v, want ErrNotExist", err)
	}
	if _, err := plain.Read(filepath.Dir(path), 5); !errors.As(err, new(*plain.KindError)) {
		t.Errorf("of a folder: got %v, want a KindError", err)
	}
}

func TestReplaceLeavesTheNewFileAlone(t *testing.T) {
	dir := t.TempDir()
	folder := openFolder(t, dir)
	for _, content := range []string{"first", "second"} {
		if _, err := plain.Replace(folder, "file", 0o644, []byte(content)); err != nil {
			t.Fatal(err)
		}
		if got := read(t, filepath.Join(dir, "file")); got != content {
			t.Errorf("got %q, want %q", got, content)
		}
	}
	if err := plain.Check(folder); err != nil {
		t.Errorf("Check: got %v", err)
	}
	checkNames(t, dir, "file")
}

func TestReplaceThatFailsLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "file", "in"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := plain.Replace(openFolder(t, dir), "file", 0o644, []byte("x")); err == nil {
		t.Error("in the place of a folder: got no error")
	}
	checkNames(t, dir, "file")
}

func TestReplaceKeepsTheRightsOfTheOldFile(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("files have no such rights there")
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "file"), "x") // with mode 0600
	if _, err := plain.Replace(openFolder(t, dir), "file", 0o644, []byte("y")); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(filepath.Join(dir, "file")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("got %v and %v, want the rights 0600", info.Mode(), err)
	}
}

func openFolder(t *testing.T, path string) *os.Root {
	t.Helper()
	folder, err := plain.OpenFolder(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = folder.Close() })
	return folder
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func checkNames(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if got := strings.Join(names, " "); got != strings.Join(want, " ") {
		t.Errorf("in the folder: got %q, want %q", names, want)
	}
}
