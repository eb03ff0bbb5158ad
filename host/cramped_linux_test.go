//go:build !race

package host_test

import (
	"fmt"
	"testing"
)

// A program with the race detector maps more memory than these limits allow.
func TestSharedMemoryLeavesRoomInALimitedAddressSpace(t *testing.T) {
	for _, gib := range []int64{4, 6} { // with 4 GiB of buffers and an arena of 1 GiB for each worker, nothing would be left for threads
		cmd := under(t, fmt.Sprintf("ulimit -v %d", gib<<20), hostCommand(t, "cramped"))
		out, err := cmd.Output()
		var shared int64
		var said string
		if n, _ := fmt.Sscan(string(out), &shared, &said); err != nil || n != 2 || said != "<nil>" {
			t.Errorf("with %d GiB: got %q, %v, want all items done", gib, out, err)
		} else if most := gib << 30 / 4; shared == 0 || shared > most {
			t.Errorf("with %d GiB: got %d bytes of address space shared with workers, want some, and at most %d", gib, shared, most)
		}
	}
}
