package child

import (
	"os"
	"testing"
)

// awaitExit sees the end of a process once, and before the process id can be reused.
func TestAwaitExitSeesTheEnd(t *testing.T) {
	for _, early := range []bool{false, true} {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		p, err := os.StartProcess("/bin/cat", []string{"cat"}, &os.ProcAttr{Files: []*os.File{r, nil, nil}})
		if err != nil {
			t.Fatal(err)
		}
		seen := make(chan bool, 1)
		if early {
			go func() { seen <- awaitExit(p.Pid) }()
		}
		_, _ = r.Close(), w.Close() // the closed pipe ends the process
		if !early {
			go func() { seen <- awaitExit(p.Pid) }()
		}
		if !<-seen {
			t.Errorf("early %v: got false, want the end of the process", early)
		}
		if state, err := p.Wait(); err != nil || !state.Success() {
			t.Errorf("early %v: got %v and %v, want a process that can still be reaped", early, state, err)
		}
	}
}
