package process

import "testing"

func TestAFullArenaIsEmptyAgainWhenAllIsGivenBack(t *testing.T) {
	s := openArena(arenaBytes, keepLeast)
	if s == nil {
		t.Skip("no arena here")
	}
	defer s.close()
	var held []allocation
	for range 200 { // more allocations than fit in the arena
		held = append(held, s.allocate(8<<20, 16<<20))
	}
	for _, l := range held {
		s.free(l)
	}
	if s.held != 0 || s.slots.Used() != 0 {
		t.Errorf("got %d allocations of %d bytes in use, want none", s.held, s.slots.Used())
	}
}
