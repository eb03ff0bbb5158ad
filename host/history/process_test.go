package history

import (
	"testing"

	"github.com/parhost/parhost/host"
)

// The last sample shows workers that have ended since. Whoever looks at them then must not bring their processes back: nothing would remove them.
func TestALookAtWorkersKeepsNoProcess(t *testing.T) {
	s := New()
	for pid := range 100 {
		s.Observe(host.Sampled{At: s.begun, State: host.State{Workers: []host.WorkerInfo{{Worker: 1, PID: pid}}}})
		s.Observe(host.WorkerEnded{At: s.begun, Worker: 1, PID: pid})
		if n := len(s.Workers()); n != 1 {
			t.Fatalf("got %d workers, want the one of the last sample", n)
		}
	}
	if n := len(s.alive); n != 0 {
		t.Errorf("%d processes are kept, and none is alive", n)
	}
}
