package host_test

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/parhost/parhost/host"
)

// aliveFD is the number of the pipe that tells a worker of its host's end, as docs/PROTOCOL.md has it.
const aliveFD = 3

func init() {
	systemOrders["scribble alive"] = func(order) (string, error) { // what is written there, and that it does not wait, is for nobody
		if err := unix.SetNonblock(aliveFD, true); err != nil {
			return "", err
		}
		fd, err := unix.Open("/proc/self/fd/3", unix.O_WRONLY, 0)
		if err != nil {
			return "", err
		}
		defer func() { _ = unix.Close(fd) }()
		if _, err := unix.Write(fd, []byte("words")); err != nil {
			return "", err
		}
		for left := 1; left > 0; { // until its reader has been there
			if left, err = unix.IoctlGetInt(aliveFD, unix.TIOCINQ); err != nil {
				return "", err
			}
		}
		return "", nil
	}
}

// What a worker does to its pipe ends neither itself nor others, which have their own.
func TestAWorkerEndsNobodyByThePipeThatTellsOfItsHost(t *testing.T) {
	events := new(recorder)
	p := open(t, host.Config{Workload: chaos, Workers: 2, Observer: events})
	pipes := map[string]bool{}
	for _, w := range p.Workers() {
		pipes[descriptors(t, w.PID)["3"]] = true
	}
	if len(pipes) != 2 || pipes[""] || pipes[descriptors(t, os.Getpid())["3"]] {
		t.Errorf("the pipes of two workers: got %v, want one of its own for each", pipes)
	}
	var items []order
	for range 4 {
		items = append(items, order{Do: "scribble alive"}, order{Do: "sleep", N: 300})
	}
	if _, err := host.Map[order, string](t.Context(), p, items); err != nil {
		t.Errorf("Map: got %v", err)
	}
	if ended := ofKind[host.WorkerEnded](events); len(ended) > 0 {
		t.Errorf("got %v, want no worker lost", ended)
	}
}
