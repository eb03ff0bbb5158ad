package cluster_test

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// cutTime is how long a partition lasts: longer than a lease, and than the election of a leader.
const cutTime = 12 * time.Second

// ip runs the command of this name.
func ip(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// namespaceForm names network namespaces by the test's process, and by a word.
const namespaceForm = "phtest-%d-%s"

// namespaces makes so many network namespaces, and one more with a bridge that joins them: in namespace i, this machine is 10.0.0.(i+1), and hub has the other
// end of its link under the name to<i>. All are removed at the end of the test, and those of tests that had no time to do so.
func namespaces(t *testing.T, n int) (names []string, hub string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root may make network namespaces")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("the command ip is not installed")
	}
	sweep(t)
	add := func(word string) string {
		name := fmt.Sprintf(namespaceForm, os.Getpid(), word)
		t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", name).Run() })
		if out, err := exec.Command("ip", "netns", "add", name).CombinedOutput(); err != nil {
			t.Skipf("no network namespace can be made here: %v: %s", err, out)
		}
		ip(t, "-n", name, "link", "set", "lo", "up")
		return name
	}
	hub = add("hub")
	if out, err := exec.Command("ip", "-n", hub, "link", "add", "bridge", "type", "bridge").CombinedOutput(); err != nil {
		t.Skipf("no bridge can be made here: %v: %s", err, out)
	}
	ip(t, "-n", hub, "link", "set", "bridge", "up")
	for i := range n {
		name, end := add(strconv.Itoa(i)), fmt.Sprint("to", i)
		ip(t, "-n", hub, "link", "add", end, "type", "veth", "peer", "name", "lan", "netns", name)
		ip(t, "-n", hub, "link", "set", end, "master", "bridge", "up")
		ip(t, "-n", name, "addr", "add", fmt.Sprintf("10.0.0.%d/24", i+1), "dev", "lan")
		ip(t, "-n", name, "link", "set", "lan", "up")
		names = append(names, name)
	}
	return names, hub
}

// sweep removes the namespaces of tests that are gone. Of a test that runs out of time, nothing else would do it.
func sweep(t *testing.T) {
	t.Helper()
	out, err := exec.Command("ip", "netns", "list").Output()
	if err != nil {
		t.Skipf("network namespaces cannot be listed: %v", err)
	}
	for line := range strings.Lines(string(out)) {
		name, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		var pid int
		var word string
		if n, _ := fmt.Sscanf(name, namespaceForm, &pid, &word); n < 2 {
			continue
		}
		if _, err := os.Stat(fmt.Sprint("/proc/", pid)); os.IsNotExist(err) {
			_ = exec.Command("ip", "netns", "del", name).Run()
		}
	}
}

func TestARunOutlivesAPartition(t *testing.T) {
	t.Parallel()
	r := &rig{t: t}
	var hub string
	r.in, hub = namespaces(t, 3)
	r.open(3, 3)
	const items, batch = 9000, 40 // the majority cannot have run them before the partition ends
	minority := r.leader("PH_WORK")
	beside := (minority + 1) % 3
	// The submitter knows the leader's address first, and the others from it: so the partition cuts its connection too.
	submitter := start(t, role{Submit: &submitRole{URL: "nats://" + r.configs[minority].Listen, Job: "cut", Items: items, Batch: batch, Ran: r.ran}}, r.prefix(beside)...)
	var (
		by         [items]int // which worker the result is of
		next       int
		cut, last  time.Time
		silence    time.Duration
		heal       <-chan time.Time
		during     int // results while the partition lasted
		healed     time.Time
		late       = time.After(faultTime)
		atHeal     int
		executions = func() []execution { return executions(t, r.ran) }
	)
	for next < items {
		select {
		case line, ok := <-submitter.lines:
			var value, index int
			if _, err := fmt.Sscan(line, &index, &value, &by[next]); !ok || err != nil || index != next || value != 2*next {
				t.Fatalf("got %q, want the double of %d", line, next)
			}
			if !cut.IsZero() {
				silence, last = max(silence, time.Since(last)), time.Now()
				if healed.IsZero() {
					during++
				}
			}
			if next++; next == items/5 {
				r.awaitBatch(minority, batch)
				ip(t, "-n", hub, "link", "set", fmt.Sprint("to", minority), "down")
				cut, heal = time.Now(), time.After(cutTime)
				last = cut
			}
		case <-heal:
			ip(t, "-n", hub, "link", "set", fmt.Sprint("to", minority), "up")
			healed, heal, atHeal = time.Now(), nil, next
		case <-late:
			t.Fatalf("%d of %d results after %v", next, items, faultTime)
		}
	}
	if healed.IsZero() {
		t.Fatal("the run was done before the partition ended: it proves nothing")
	}
	<-submitter.gone
	ran := executions()
	refused := 0
	for _, e := range ran {
		if e.node == r.nodes[minority].Process.Pid && by[e.item] != e.worker {
			refused++
		}
	}
	if refused == 0 {
		t.Error("no result of the minority came too late: the partition proves nothing")
	}
	if during == 0 {
		t.Error("no result came while the partition lasted, want that the majority goes on")
	}
	t.Logf("%d items, %d executions, %d of them in the minority and too late; %d results came in the %v of the partition, the last %d after it; the longest silence was %v",
		items, len(ran), refused, during, cutTime, items-atHeal, silence.Round(time.Millisecond))
}

// awaitBatch waits until a node begins a batch.
func (r *rig) awaitBatch(node, batch int) {
	r.t.Helper()
	seen := len(executions(r.t, r.ran))
	tick, late := time.NewTicker(5*time.Millisecond), time.After(30*time.Second)
	defer tick.Stop()
	for {
		for _, e := range executions(r.t, r.ran)[seen:] {
			if e.node == r.nodes[node].Process.Pid && e.item%batch < batch/8 {
				return
			}
		}
		select {
		case <-tick.C:
		case <-late:
			r.t.Fatal("the node has begun no batch for 30s")
		}
	}
}
