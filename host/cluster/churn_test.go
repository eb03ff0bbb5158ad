//go:build unix

package cluster_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

var churnFor = flag.Duration("churn", 0, "how long TestChurn kills servers, nodes and submitters; with -long alone 20 s")

// hangTime is how long nothing may come while all processes are killed now and then: longer is a hang.
const hangTime = time.Minute

// Every few seconds a random server and a random node die and come back, and now and then the submitter does.
func TestChurn(t *testing.T) {
	lasts := *churnFor
	if lasts == 0 {
		long(t)
		lasts = 20 * time.Second
	}
	t.Parallel()
	const items, batch = 6000, 10
	r := newRig(t, 3, 3)
	seed := uint64(time.Now().UnixNano())
	random := rand.New(rand.NewPCG(seed, 1))
	t.Log("seed", seed)
	var servers, nodes, submitters, jobs, ran int
	var longest time.Duration
	strike := time.NewTimer(2 * time.Second)
	defer strike.Stop()
	for began := time.Now(); jobs == 0 || time.Since(began) < lasts; jobs++ {
		noted := filepath.Join(t.TempDir(), "ran")
		submit := func() *actor {
			return start(t, role{Submit: &submitRole{URL: r.url, Job: fmt.Sprint("churn", jobs), Items: items, Batch: batch, Ran: noted}})
		}
		submitter, next, last := submit(), 0, time.Now()
		begun := last
		dies := random.IntN(2 * items) // after so many results, if there are that many
		for next < items {
			select {
			case line, ok := <-submitter.lines:
				if !ok || !isDouble(line, next) {
					t.Fatalf("job %d: got %q, want the double of %d\n%s", jobs, line, next, submitter.log)
				}
				longest, last = max(longest, time.Since(last)), time.Now()
				if next++; next == dies {
					submitter.signal(syscall.SIGKILL) // it may have written its last line already
					<-submitter.gone
					submitters++
					submitter, next, dies, last = submit(), 0, -1, time.Now()
				}
			case <-strike.C:
				s, n := random.IntN(len(r.servers)), random.IntN(len(r.nodes))
				r.servers[s].kill(t)
				r.nodes[n].kill(t)
				r.serve(s)
				r.rejoin(n)
				servers, nodes = servers+1, nodes+1
				strike.Reset(2*time.Second + time.Duration(random.Int64N(int64(2*time.Second))))
			case <-time.After(hangTime - time.Since(last)):
				submitter.signal(syscall.SIGQUIT) // its log shows then where it waits
				for _, n := range r.nodes {
					n.signal(syscall.SIGQUIT)
				}
				<-submitter.gone
				t.Fatalf("job %d: %d of %d results, and none for %v", jobs, next, items, hangTime)
			}
		}
		<-submitter.gone
		extra := len(executions(t, noted)) - items
		ran += extra
		t.Logf("job %d: %v, %d executions more than items, so far %d servers, %d nodes and %d submitters killed, longest silence %v",
			jobs, time.Since(begun).Round(time.Millisecond), extra, servers, nodes, submitters, longest.Round(time.Millisecond))
	}
	t.Logf("%d jobs of %d items, %d executions more than items; %d servers, %d nodes and %d submitters were killed; the longest silence was %v",
		jobs, items, ran, servers, nodes, submitters, longest.Round(time.Millisecond))
	if servers == 0 {
		t.Error("nothing was killed: it proves nothing")
	}
}
