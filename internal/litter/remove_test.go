package litter_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/parhost/parhost/internal/litter"
)

func TestRemove(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "outside")
	write(t, outside)
	for name, fill := range map[string]func(t *testing.T, dir string){
		"nothing in it": func(*testing.T, string) {},
		"files": func(t *testing.T, dir string) {
			for i := range 1100 { // more than one batch of names
				write(t, fmt.Sprintf("%s/%d", dir, i))
			}
		},
		"folders with something in each": func(t *testing.T, dir string) {
			for i := range 1100 {
				mkdir(t, fmt.Sprintf("%s/%d/a", dir, i))
				write(t, fmt.Sprintf("%s/%d/a/b", dir, i))
			}
		},
		"links to what is not in it": func(t *testing.T, dir string) {
			for link, to := range map[string]string{"file": outside, "folder": filepath.Dir(outside), "loop": ".", "nothing": "nowhere"} {
				if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
					t.Fatal(err)
				}
			}
		},
		"folders that forbid it": func(t *testing.T, dir string) {
			mkdir(t, dir+"/a/b/c")
			write(t, dir+"/a/b/c/d")
			for _, folder := range []string{"/a/b/c", "/a/b", "/a", ""} {
				if err := os.Chmod(dir+folder, 0); err != nil {
					t.Fatal(err)
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			if runtime.GOOS == "windows" && name == "links to what is not in it" {
				t.Skip("Windows lets not everybody make links")
			}
			dir := filepath.Join(t.TempDir(), "litter")
			mkdir(t, dir)
			fill(t, dir)
			if err := litter.Remove(t.Context(), dir); err != nil {
				t.Errorf("Remove: got %v", err)
			}
			checkGone(t, dir)
		})
	}
	if _, err := os.Stat(outside); err != nil {
		t.Errorf("what links pointed to: got %v, want it there", err)
	}
}

func TestRemoveOfWhatIsNoFolder(t *testing.T) {
	dir := t.TempDir()
	if err := litter.Remove(t.Context(), dir+"/nothing"); err != nil {
		t.Errorf("of nothing: got %v", err)
	}
	write(t, dir+"/file")
	if err := litter.Remove(t.Context(), dir+"/file"); err != nil {
		t.Errorf("of a file: got %v", err)
	}
	checkGone(t, dir+"/file")
}

func TestRemoveEndsWithItsContext(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/file")
	why := errors.New("no time")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	if err := litter.Remove(ctx, dir); !errors.Is(err, why) {
		t.Errorf("Remove: got %v, want %v", err, why)
	}
	if _, err := os.Stat(dir + "/file"); err != nil {
		t.Errorf("a file: got %v, want it there", err)
	}
}

func TestAFolderRemovesWhatIsDropped(t *testing.T) {
	b, err := litter.Open("parhost", t.TempDir(), 0)
	if err != nil {
		t.Fatal(err)
	}
	dir := b.Path()
	for _, name := range []string{"a", "b"} {
		mkdir(t, filepath.Join(dir, name, "c"))
	}
	b.Drop(filepath.Join(dir, "a"))
	checkGone(t, filepath.Join(dir, "a"))
	b.Drop(filepath.Join(dir, "nothing"))
	if _, err := os.Stat(filepath.Join(dir, "b", "c")); err != nil {
		t.Errorf("a folder that was not dropped: got %v, want it there", err)
	}
	if err := b.Close(t.Context()); err != nil {
		t.Errorf("Close: got %v", err)
	}
	checkGone(t, dir)
}

// A socket's path has a length limit, and Open reports that before it makes a folder.
func TestAFolderHasRoomForSockets(t *testing.T) {
	base := filepath.Join(t.TempDir(), strings.Repeat("long", 20))
	mkdir(t, base)
	if f, err := litter.Open("parhost", base, 30); err == nil || !strings.Contains(err.Error(), "the limit is 103 (Config.TempDir)") {
		t.Errorf("Open: got %v and %v, want an error with the limit", f, err)
	}
	if left, err := os.ReadDir(base); err != nil || len(left) > 0 {
		t.Errorf("got %v and %v, want nothing left", left, err)
	}
}

func mkdir(t testing.TB, path string) {
	t.Helper()
	if err := os.MkdirAll(path, 0o700); err != nil {
		t.Fatal(err)
	}
}

func write(t testing.TB, path string) {
	t.Helper()
	if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
}

func checkGone(t *testing.T, path string) {
	t.Helper()
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s: got %v, want it gone", filepath.Base(path), err)
	}
}

// Open uses /tmp if TMPDIR cannot be used for sockets.
func TestOpenTakesTmpWhereTheDefaultIsOfNoUse(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there is no /tmp there")
	}
	dir := t.TempDir()
	write(t, dir+"/file")
	for _, name := range []string{"a|b", "a\nb", strings.Repeat("long", 30)} {
		mkdir(t, filepath.Join(dir, name))
	}
	for _, name := range []string{"missing", "file", "a|b", "a\nb", strings.Repeat("long", 30)} {
		t.Setenv("TMPDIR", filepath.Join(dir, name))
		f, err := litter.Open("parhost-test", "", 30)
		if err != nil {
			t.Errorf("Open with TMPDIR=%.20q: got %v", name, err)
			continue
		}
		if filepath.Dir(f.Path()) != "/tmp" {
			t.Errorf("Open with TMPDIR=%.20q: got %q, want a folder in /tmp", name, f.Path())
		}
		if err := f.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if _, err := litter.Open("parhost-test", filepath.Join(dir, name), 30); !errors.As(err, new(*litter.FolderError)) {
			t.Errorf("Open in %.20q: got %v, want a FolderError", name, err)
		}
	}
}

func TestOpenInARelativeFolderStaysThere(t *testing.T) {
	t.Chdir(t.TempDir())
	mkdir(t, "base")
	f, err := litter.Open("parhost-test", "base", 0)
	if err != nil {
		t.Fatal(err)
	}
	if !filepath.IsAbs(f.Path()) {
		t.Errorf("got the path %q, want an absolute one", f.Path())
	}
	if err := f.Close(t.Context()); err != nil {
		t.Error(err)
	}
}
