package host_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/host/sandbox"
)

// The connection of a process that exits closes before its exit is reported. With the shortest grace the host kills it in between.
func TestAnExitIsTheReasonThoughTheStreamEndedBeforeIt(t *testing.T) {
	needUnix(t, "a status that tells an exit from a kill")
	atLevels(t, allLevels, func(t *testing.T, policy sandbox.Policy) {
		for name, inline := range map[string]bool{"link": false, "inline": true} {
			t.Run(name, func(t *testing.T) {
				p := open(t, host.Config{Workload: chaos, Workers: 1, Sandbox: policy, Grace: time.Microsecond, Inline: inline})
				items := make([]order, 30)
				for i := range items {
					items[i] = order{Do: "exit", N: 3, S: "the reason"}
				}
				_, err := typed[order, string](p).Map(t.Context(), items)
				for index, e := range mapErrors(t, "Map", err) {
					text := e.Error()
					if e.Cause != host.CauseExit || e.ExitCode != 3 || !strings.Contains(text, "the reason") || strings.Contains(text, "stream") {
						t.Fatalf("item %d: got cause %q and %q, want cause exit, exit code 3 and the reason", index, e.Cause, text)
					}
				}
			})
		}
	})
}

// A worker that lives on after the end of its stream broke the protocol. The text of gRPC's error codes does not reach the user.
func TestAWorkerThatOutlivesItsStreamBreaksTheProtocol(t *testing.T) {
	p := open(t, fake(t, "breaks its stream"))
	_, err := value(typed[string, int](p).Do(t.Context(), "x"))
	e := itemError(t, "an item whose worker closed its stream", err, host.KindCrashed)
	const want = "worker closed its stream: send: no reason"
	if e.Cause != host.CauseProtocol || e.Message != want {
		t.Errorf("got cause %q and %q, want protocol and %q", e.Cause, e.Message, want)
	}
}

// A worker that writes garbage to its connection breaks the protocol, and its item is begun once. The worker ends itself after the garbage and clears
// its black box, so its death looks like that of a worker that never got the batch.
func TestGarbageOnTheConnectionIsTheFaultOfItsItem(t *testing.T) {
	atLevels(t, allLevels, func(t *testing.T, policy sandbox.Policy) {
		for name, inline := range map[string]bool{"link": false, "inline": true} {
			t.Run(name, func(t *testing.T) {
				var log bytes.Buffer
				p := open(t, host.Config{Workload: chaos, Workers: 1, Sandbox: policy, Inline: inline, Logger: hclog.New(&hclog.LoggerOptions{Output: &log})})
				_, err := value(typed[order, string](p).Do(t.Context(), order{Do: "garble", N: 300}))
				e := itemError(t, "an item that garbles its connection", err, host.KindCrashed)
				if e.Cause != host.CauseProtocol || e.Attempts != 1 {
					t.Errorf("got cause %q, %q after %d attempts, want protocol after one", e.Cause, e.Message, e.Attempts)
				}
				p.Close() // nothing writes to the log any more
				if n := strings.Count(log.String(), "begun"); n != 1 {
					t.Errorf("the item was begun %d times, want once", n)
				}
			})
		}
	})
}
