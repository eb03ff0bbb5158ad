package procfile_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/parhost/parhost/internal/procfile"
)

func TestReadReturnsAllOfAFile(t *testing.T) {
	for _, size := range []int{0, 1, 4095, 4096, 4097, 100_000} {
		path := filepath.Join(t.TempDir(), "file")
		want := bytes.Repeat([]byte("x"), size)
		if err := os.WriteFile(path, want, 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := procfile.Read(path); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes: got %d, %v", size, len(got), err)
		}
	}
	if got, err := procfile.Read("/proc/self/status"); err != nil || !bytes.Contains(got, []byte("\nThreads:")) {
		t.Errorf("/proc/self/status: got %q, %v", got, err)
	}
}

func TestReadNamesTheFileThatItCannotRead(t *testing.T) {
	for path, want := range map[string]string{
		"/proc/self/none": "open /proc/self/none: no such file or directory",
		"/proc/self":      "read /proc/self: is a directory",
	} {
		_, err := procfile.Read(path)
		if _, ok := errors.AsType[*fs.PathError](err); !ok || err.Error() != want {
			t.Errorf("%s: got %v, want %s", path, err, want)
		}
	}
}
