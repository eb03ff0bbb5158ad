package host_test

import (
	"fmt"
	"testing"
)

// The host must not use one thread for each worker: threads count against the user's limit of processes and reserve address space.
func TestWorkersTakeNoThreadsOfTheHost(t *testing.T) {
	out, err := hostCommand(t, "crowd").Output()
	var workers, threads int
	var said string
	if n, _ := fmt.Sscan(string(out), &workers, &threads, &said); err != nil || n != 3 || said != "<nil>" {
		t.Fatalf("got %q, %v, want the numbers of workers and threads", out, err)
	}
	if workers != 40 || threads >= workers {
		t.Errorf("got %d workers and %d threads in their host, want 40 workers and fewer threads than that", workers, threads)
	}
}
