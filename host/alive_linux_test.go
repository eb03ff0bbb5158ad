package host_test

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/parhost/parhost/host"
)

// aliveFD is the number of the socket that tells a worker of its host's end, as docs/PROTOCOL.md has it.
const aliveFD = 3

func init() {
	systemOrders["scribble alive"] = func(order) (string, error) { // that it does not wait is for nobody, and the host takes no words there
		if err := unix.SetNonblock(aliveFD, true); err != nil {
			return "", err
		}
		if fd, err := unix.Open("/proc/self/fd/3", unix.O_WRONLY, 0); !errors.Is(err, unix.ENXIO) {
			return "", fmt.Errorf("another opening of it: got descriptor %d, %w, want ENXIO, as for a socket", fd, err)
		}
		if _, err := unix.Write(aliveFD, []byte("words")); !errors.Is(err, unix.EPIPE) {
			return "", fmt.Errorf("words to the host: got %w, want EPIPE", err)
		}
		return "", nil
	}
}

// What a worker does to its socket ends neither itself nor others, which have their own.
func TestAWorkerEndsNobodyByThePipeThatTellsOfItsHost(t *testing.T) {
	events := new(recorder)
	p := open(t, host.Config{Workload: chaos, Workers: 2, Observer: events})
	pipes := map[string]bool{}
	for _, w := range p.Workers() {
		pipes[descriptors(t, w.PID)["3"]] = true
	}
	if len(pipes) != 2 || pipes[""] || pipes[descriptors(t, os.Getpid())["3"]] {
		t.Errorf("the sockets of two workers: got %v, want one of its own for each", pipes)
	}
	var items []order
	for range 4 {
		items = append(items, order{Do: "scribble alive"}, order{Do: "sleep", N: 300})
	}
	if _, err := typed[order, string](p).Map(t.Context(), items); err != nil {
		t.Errorf("Map: got %v", err)
	}
	p.AwaitObserver()
	if ended := ofKind[host.WorkerEnded](events); len(ended) > 0 {
		t.Errorf("got %v, want no worker lost", ended)
	}
}
