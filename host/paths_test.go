package host_test

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/parhost/parhost/host"
)

// Relative paths are those of the moment in which the pool was opened, for each worker of its life.
func TestAProgramMayChangeItsFolder(t *testing.T) {
	base := shortDir(t)
	if err := errors.Join(os.Mkdir(filepath.Join(base, "work"), 0o700), os.Mkdir(filepath.Join(base, "s"), 0o700)); err != nil {
		t.Fatal(err)
	}
	t.Chdir(base)
	p := open(t, host.Config{Workload: chaos, Workers: 1, Dir: "work", TempDir: "s"})
	t.Chdir("/")
	for range 2 { // each begins on a worker that was started in the new folder, but the first
		if _, err := value(typed[order, string](p).Do(t.Context(), order{Do: "exit", N: 3})); err == nil {
			t.Error("an item that exits: got no error")
		}
	}
	within(t, "an item of the next worker", patience, func() {
		if _, err := value(typed[order, string](p).Do(t.Context(), order{Do: "sleep"})); err != nil {
			t.Errorf("an item of the next worker: got %v", err)
		}
	})
}

func TestAFolderThatNoHandshakeCanNameIsRefused(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there are no sockets with paths there")
	}
	for _, name := range []string{"a|b", "a\nb"} {
		dir := filepath.Join(t.TempDir(), name)
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		_, err := host.Open(t.Context(), host.Config{Workload: chaos, TempDir: dir})
		var start *host.StartError
		if !errors.As(err, &start) || start.Stage != "sockets" {
			t.Errorf("Open with a TempDir %q: got %v, want an error of the stage sockets", name, err)
		}
		t.Setenv("TMPDIR", dir) // where another folder does as well
		p := open(t, host.Config{Workload: chaos, Workers: 1})
		if _, err := value(typed[order, string](p).Do(t.Context(), order{Do: "sleep"})); err != nil {
			t.Errorf("Do with TMPDIR=%q: got %v", name, err)
		}
	}
}
