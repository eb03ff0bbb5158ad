package cluster

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"iter"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parhost/parhost/host/cluster/internal/engine"
)

var simulate = flag.Bool("simulate", false, "print the tables of the simulated cluster")

// scene is a simulated cluster and what it runs.
type scene struct {
	costs
	slots      int
	partitions int           // default 1
	item       time.Duration // that an item runs
	items      int           // of all jobs
	jobs       int           // that share the items; default 1
	batch      int           // Config.Batch
	unordered  bool
	whole      bool          // the jobs run to their end; else the second half of the items is what is measured
	die        time.Duration // how often a node dies; it is back 15 s later
	deaths     int           // how many nodes die; default all, one after the other
	claim      float64       // of each node's slots, how many it says that it has; default 1
	small      bool          // another job of 100 items comes 10 s later
}

// outcome is what came of a scene.
type outcome struct {
	rate       float64       // items a second
	efficiency float64       // share of the slots' time in which items ran
	took       time.Duration // simulated
	puts       int
	lookups    int
	again      int           // batches that ran twice
	size       float64       // of batches, on average
	small      time.Duration // that the small job took
}

func (o outcome) String() string {
	return fmt.Sprintf("%9.0f/s %5.1f%% %7.2fs", o.rate, 100*o.efficiency, o.took.Seconds())
}

func (c scene) play(t *testing.T) (o outcome) {
	t.Helper()
	c.jobs, c.partitions = max(1, c.jobs), max(1, c.partitions)
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		s := newSimulated(ctx, c.costs, c.slots, c.partitions, c.item)
		s.goal = c.items
		if c.claim > 0 {
			s.claim = c.claim
		}
		if c.die > 0 {
			go func() {
				for i := 0; ctx.Err() == nil && (c.deaths == 0 || i < c.deaths); i++ {
					select {
					case <-time.After(c.die):
						s.kill(s.nodes[i%len(s.nodes)], 15*time.Second)
					case <-ctx.Done():
					}
				}
			}()
		}
		ended := make(chan error, c.jobs)
		for i := range c.jobs {
			go func() { ended <- c.submit(ctx, s, fmt.Sprint("job", i), c.items/c.jobs) }()
		}
		if c.small {
			time.Sleep(10 * time.Second)
			began, few := time.Now(), c
			few.whole = true
			if err := few.submit(ctx, s, "small", 100); err != nil {
				t.Error(err)
			}
			o.small = time.Since(began)
		}
		for range c.jobs {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
		if c.whole {
			s.half, s.end = 0, s.now()
			o.rate = float64(s.done) / s.end.Seconds()
		} else {
			o.rate = float64(s.goal-s.goal/2) / (s.end - s.half).Seconds()
		}
		o.efficiency = o.rate * c.item.Seconds() / float64(c.slots)
		o.took, o.puts, o.lookups, o.again = s.end, s.puts, s.lookups, s.again
		o.size = float64(s.done) / float64(s.puts)
	})
	return o
}

// submit is a submitter. It checks that no result is missing or comes twice.
func (c scene) submit(ctx context.Context, s *simulated, name string, items int) error {
	j := testJob(s, c.batch)
	j.key = engine.JobKey{Tenant: "t", Job: name}
	results := j.Stream
	if c.unordered {
		results = j.Unordered
	}
	n, sum := 0, 0
	for r, err := range results(ctx, same(s.item, items, c.whole)) {
		if err != nil {
			return err
		}
		if !c.unordered && r.Index != n {
			return fmt.Errorf("got item %d, want %d", r.Index, n)
		}
		n++
		sum += r.Index
		if !c.whole {
			select {
			case <-s.reached:
				return nil
			default:
			}
		}
	}
	if n != items || sum != items*(items-1)/2 {
		return fmt.Errorf("got %d results of %d items, and their places add up to %d", n, items, sum)
	}
	return nil
}

// same yields an item so many times, or for ever.
func same(item json.RawMessage, n int, ends bool) iter.Seq[json.RawMessage] {
	return func(yield func(json.RawMessage) bool) {
		for i := 0; (!ends || i < n) && yield(item); i++ {
		}
	}
}

// lasting returns how many items keep so many slots busy for a while, or 2 million.
func lasting(slots int, item, long time.Duration) int {
	return min(2_000_000, int(float64(slots)*long.Seconds()/item.Seconds()))
}

// The simulated cluster has the shapes that one expects of a real one. Its figures are in docs/cluster-simulation.md.
func TestSimulation(t *testing.T) {
	one := oneServer()
	t.Run("more slots do more, until the server is the limit", func(t *testing.T) {
		for _, slots := range []int{8, 64, 512} {
			if o := (scene{costs: one, slots: slots, item: 10 * time.Millisecond, items: lasting(slots, 10*time.Millisecond, 4*time.Second)}).play(t); o.efficiency < 0.9 {
				t.Errorf("%d slots: %v, want an efficiency of at least 90 %%", slots, o)
			}
		}
		limit := 1 / (2*one.stored.Seconds() + 200*one.perByte/1e9) // batches of one item, and their results
		o := scene{costs: one, slots: 2048, item: time.Millisecond, items: 20_000, batch: 1}.play(t)
		if o.rate < 0.8*limit || o.rate > 1.1*limit {
			t.Errorf("batches of one item: %v, want about %.0f/s", o, limit)
		}
	})
	t.Run("thousands of slots get batches that a server can carry", func(t *testing.T) {
		if o := (scene{costs: threeServers(), slots: 2048, item: 100 * time.Millisecond, items: lasting(2048, 100*time.Millisecond, 12*time.Second)}).play(t); o.efficiency < 0.8 {
			t.Errorf("got %v, want an efficiency of at least 80 %%", o)
		}
	})
	t.Run("a far server gets as many batches as a near one", func(t *testing.T) {
		c := scene{costs: one, slots: 256, item: 10 * time.Millisecond, items: lasting(256, 10*time.Millisecond, 10*time.Second)}
		c.trip = 80 * time.Millisecond
		if o := c.play(t); o.efficiency < 0.75 {
			t.Errorf("got %v, want an efficiency of at least 75 %%", o)
		}
	})
	t.Run("a node that dies costs its own slots", func(t *testing.T) {
		if o := (scene{costs: one, slots: 512, item: time.Second, items: 512 * 60, die: 20 * time.Second}).play(t); o.efficiency < 0.85 { // one of 8 nodes is away for 15 s
			t.Errorf("got %v, want an efficiency of at least 85 %%", o)
		}
	})
	t.Run("a job whose last batches die with a node ends a lease time later", func(t *testing.T) {
		c := scene{costs: one, slots: 128, item: 100 * time.Millisecond, items: 128 * 100, whole: true}
		whole := c.play(t)
		c.die, c.deaths = 9*time.Second, 1 // of about 10 s
		broken := c.play(t)
		if late := broken.took - whole.took; late < 5*time.Second || late > 12*time.Second {
			t.Errorf("with a death it took %v, without %v, want about the lease time of 10 s more", broken.took, whole.took)
		}
	})
	t.Run("a small job beside a large one does not starve", func(t *testing.T) {
		o := scene{costs: one, slots: 64, item: 10 * time.Millisecond, items: lasting(64, 10*time.Millisecond, 20*time.Second), small: true}.play(t)
		if o.small > 2*time.Second {
			t.Errorf("the small job took %v, want at most 2 s", o.small)
		}
	})
	t.Run("partitions carry more than one", func(t *testing.T) {
		c := scene{costs: one, slots: 2048, item: time.Millisecond, items: 24_000, batch: 1, jobs: 8}
		single := c.play(t)
		c.partitions = 4
		if four := c.play(t); four.rate < 3*single.rate {
			t.Errorf("4 partitions: %v, 1 partition: %v, want at least three times as much", four, single)
		}
	})
}

// TestSimulationTables prints tables: go test ./host/cluster -run TestSimulationTables -simulate
func TestSimulationTables(t *testing.T) {
	if !*simulate {
		t.Skip("only with -simulate")
	}
	row := func(t *testing.T, text string, values ...any) { _, _ = fmt.Fprintf(t.Output(), text+"\n", values...) }
	t.Run("slots", func(t *testing.T) {
		items := []time.Duration{100 * time.Microsecond, time.Millisecond, 10 * time.Millisecond, time.Second}
		servers := map[string]costs{"one server": oneServer(), "three servers": threeServers()}
		for _, name := range []string{"one server", "three servers"} {
			for _, slots := range []int{2, 8, 32, 128, 512, 2048, 8192} {
				for _, item := range items {
					o := scene{costs: servers[name], slots: slots, item: item, items: max(200, lasting(slots, item, 12*time.Second))}.play(t)
					row(t, "simulated, %s, %4d slots, items of %5v: %v, %.0f items a batch", name, slots, item, o, o.size)
				}
			}
		}
	})
	t.Run("batches", func(t *testing.T) {
		for _, batch := range []int{1, 10, 100, 1000, 0} {
			o := scene{costs: oneServer(), slots: 512, item: time.Millisecond, items: lasting(512, time.Millisecond, 3*time.Second), batch: batch}.play(t)
			row(t, "simulated, 512 slots, items of 1 ms, batches of %4d (0: by the rule): %v", batch, o)
		}
	})
	t.Run("window", func(t *testing.T) {
		for _, claim := range []float64{0.25, 0.5, 1, 4} {
			for _, trip := range []time.Duration{200 * time.Microsecond, 80 * time.Millisecond} {
				c := scene{costs: oneServer(), slots: 512, item: 10 * time.Millisecond, items: lasting(512, 10*time.Millisecond, 20*time.Second), batch: 25, claim: claim, small: true}
				c.trip = trip
				o := c.play(t)
				row(t, "simulated, 512 slots, batches of 0.25 s, a window of %4.0f, a trip of %5v: %v, a small job takes %.2fs", 512*3*claim, trip, o, o.small.Seconds())
			}
		}
	})
	t.Run("deaths", func(t *testing.T) {
		for _, item := range []time.Duration{100 * time.Millisecond, time.Second} {
			for _, unordered := range []bool{false, true} {
				for _, die := range []time.Duration{0, time.Minute, 20 * time.Second, 5 * time.Second} {
					o := scene{costs: oneServer(), slots: 1024, item: item, items: lasting(1024, item, 120*time.Second), die: die, unordered: unordered}.play(t)
					row(t, "simulated, 1024 slots in 16 nodes, items of %5v, a death every %4v, unordered %5v: %v, %d batches ran twice", item, die, unordered, o, o.again)
				}
			}
		}
	})
	t.Run("partitions", func(t *testing.T) {
		for _, batch := range []int{10, 0} {
			for _, partitions := range []int{1, 4, 8} {
				o := scene{costs: threeServers(), slots: 4096, item: time.Millisecond, items: 1_000_000 / max(1, batch), jobs: 8, partitions: partitions, batch: batch}.play(t)
				row(t, "simulated, three servers, 4096 slots, 8 jobs, items of 1 ms, batches of %2d (0: by the rule), %d partitions: %v", batch, partitions, o)
			}
		}
	})
	t.Run("trips", func(t *testing.T) {
		for _, trip := range []time.Duration{200 * time.Microsecond, 20 * time.Millisecond, 80 * time.Millisecond} {
			for _, slots := range []int{8, 128, 2048} {
				c := scene{costs: oneServer(), slots: slots, item: 10 * time.Millisecond, items: lasting(slots, 10*time.Millisecond, 20*time.Second)}
				c.trip = trip
				row(t, "simulated, a trip of %5v, %4d slots, items of 10 ms: %v", trip, slots, c.play(t))
			}
		}
	})
	t.Run("jobs", func(t *testing.T) {
		for _, slots := range []int{128, 2048, 8192} {
			for _, n := range []int{10_000, 1_000_000} {
				o := scene{costs: oneServer(), slots: slots, item: 10 * time.Millisecond, items: n, whole: true}.play(t)
				row(t, "simulated, a whole job of %7d items of 10 ms on %4d slots: %v, at best %.2fs", n, slots, o, float64(n)*0.01/float64(slots))
			}
			o := scene{costs: oneServer(), slots: slots, item: 10 * time.Millisecond, items: lasting(slots, 10*time.Millisecond, 20*time.Second), small: true}.play(t)
			row(t, "simulated, a job of 100 items beside a large one on %4d slots takes %.2fs", slots, o.small.Seconds())
		}
	})
}
