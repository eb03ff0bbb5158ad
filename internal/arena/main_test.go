package arena_test

import (
	"os"
	"testing"

	"github.com/parhost/parhost/internal/arena"
)

func newArena(t testing.TB) (*arena.Arena, *os.File) {
	t.Helper()
	a, file, err := arena.New(size)
	if err != nil {
		t.Skip("no arena here: ", err)
	}
	t.Cleanup(func() {
		_ = a.Close()
		_ = file.Close()
	})
	return a, file
}
