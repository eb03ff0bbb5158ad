package process

import (
	"testing"

	"golang.org/x/sys/unix"
)

func TestAnEmptyArenaKeepsOnlySoMuchMemory(t *testing.T) {
	const keep = 1 << 20
	s := openArena(arenaBytes, keep)
	if s == nil {
		t.Skip("no arena here")
	}
	defer s.close()
	l := s.allocate(8<<20, 8<<20)
	for _, memory := range [][]byte{s.memory(l.items), s.memory(l.room)} {
		for i := range memory {
			memory[i] = 1
		}
	}
	taken := func() int64 {
		var st unix.Stat_t
		if err := unix.Fstat(int(s.file.Fd()), &st); err != nil {
			t.Fatal(err)
		}
		return st.Blocks * 512
	}
	if got := taken(); got < 16<<20 {
		t.Fatalf("with 16 MiB in it: got %d bytes", got)
	}
	s.free(l)
	if got := taken(); got > keep {
		t.Errorf("with nothing in it: got %d bytes, want at most %d", got, keep)
	}
}
