package host

import "testing"

func TestAFullArenaIsEmptyAgainWhenAllIsGivenBack(t *testing.T) {
	s := openShelf(arenaBytes, keepLeast)
	if s == nil {
		t.Skip("no arena here")
	}
	defer s.close()
	var held []lending
	for range 200 { // more than there is room for
		held = append(held, s.lend(8<<20, 16<<20))
	}
	for _, l := range held {
		s.giveBack(l)
	}
	if s.held != 0 || s.slots.Used() != 0 {
		t.Errorf("got %d lendings of %d bytes under way, want none", s.held, s.slots.Used())
	}
}
