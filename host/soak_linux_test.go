package host_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/parhost/parhost/host"
)

// What make soak sets.
var soakTime = flag.Duration("soak", 3*time.Second, "how long the soak runs")

// warm is how long a soak must be for what grows to be no matter of its beginning. In a shorter one it counts only what is left in the end.
const warm = 30 * time.Second

// gauge is something that a host which runs for long must not gather.
type gauge struct {
	name string
	unit float64 // of the table, and of most
	most float64 // that it may grow by during the second half
}

var gauges = []gauge{
	{name: "files", unit: 1, most: 10},
	{name: "goroutines", unit: 1, most: 30},
	{name: "children", unit: 1, most: 4},
	{name: "own MiB", unit: 1 << 20, most: 16},
	{name: "shared MiB", unit: 1 << 20, most: 16},
}

// sample is what the gauges showed at a time.
type sample struct {
	at     time.Duration
	items  int64 // done so far
	values []float64
}

func takeSample(t *testing.T, at time.Duration, items int64) sample {
	t.Helper()
	own, shared := resident(t, false)
	values := []float64{float64(len(names(t, "/proc/self/fd"))), float64(runtime.NumGoroutine()), float64(len(children(t))), float64(own), float64(shared)}
	for i, g := range gauges {
		values[i] /= g.unit
	}
	return sample{at, items, values}
}

// lineRise fits a line through values at times, by least squares, and returns how far it rises from the first time to the last, with the
// standard error of that.
func lineRise(at []time.Duration, values []float64) (rise, deviation float64) {
	n := float64(len(at))
	var sumT, sumV float64
	for i := range at {
		sumT += at[i].Seconds()
		sumV += values[i]
	}
	var covariance, variance float64
	for i := range at {
		dt := at[i].Seconds() - sumT/n
		covariance += dt * (values[i] - sumV/n)
		variance += dt * dt
	}
	slope := covariance / variance
	var rest float64
	for i := range at {
		d := values[i] - sumV/n - slope*(at[i].Seconds()-sumT/n)
		rest += d * d
	}
	span := (at[len(at)-1] - at[0]).Seconds()
	return slope * span, math.Sqrt(rest/(n-2)/variance) * span
}

// growing says by how much a gauge has grown in the second half of samples, with the standard error of that, and whether that is more than
// it may be. What three standard errors explain may be chance.
func growing(samples []sample, gauge int, most float64) (rise, deviation float64, tooMuch bool) {
	half := samples[len(samples)/2:]
	var at []time.Duration
	var values []float64
	for _, s := range half {
		at = append(at, s.at)
		values = append(values, s.values[gauge])
	}
	rise, deviation = lineRise(at, values)
	return rise, deviation, rise-3*deviation > most
}

// A leak must show through the ups and downs of a host at work, and these alone must not look like one.
func TestTheSoakTellsALeakFromNoise(t *testing.T) {
	dice := rand.New(rand.NewPCG(1, 2))
	for name, c := range map[string]struct {
		leak, noise float64 // in the second half
		tooMuch     bool
	}{
		"nothing":                  {0, 0, false},
		"less than allowed":        {8, 0, false},
		"a leak":                   {11, 0, true},
		"noise":                    {0, 30, false},
		"a leak in noise":          {40, 30, true},
		"a fall":                   {-50, 5, false},
		"a small leak, much noise": {5, 100, false},
	} {
		var samples []sample
		for i := range 600 {
			value := 100 + c.leak*float64(i)/300 + c.noise*(dice.Float64()-0.5)
			samples = append(samples, sample{at: time.Duration(i) * time.Second, values: []float64{value}})
		}
		if rise, deviation, tooMuch := growing(samples, 0, 10); tooMuch != c.tooMuch || math.Abs(rise-c.leak) > 4*deviation+0.1 {
			t.Errorf("%s: got a rise of %.1f ± %.1f (too much: %v), want %.1f (too much: %v)", name, rise, deviation, tooMuch, c.leak, c.tooMuch)
		}
	}
}

// A soak is a host at work for a long time: small items and large ones, buffers, failures, crashes, workers that are replaced for age and by
// their items, retries, cancels, and pools that come and go.
type soak struct {
	t      *testing.T
	before footprint
	stop   chan struct{}
	items  atomic.Int64
	done   map[string]*atomic.Int64 // rounds of each hand
	env    []string
}

func TestSoak(t *testing.T) {
	t.Setenv("TMPDIR", shortDir(t))
	mark := fmt.Sprintf("%d-%d", os.Getpid(), rand.Uint64())
	checkGoroutines(t)
	before := takeFootprint(t)
	s := &soak{t: t, before: before, stop: make(chan struct{}), done: map[string]*atomic.Int64{}, env: []string{markEnv + "=" + mark}}
	numbers := open(t, s.config(host.Config{Workload: half, MaxItems: 200_000, MaxAge: 5 * time.Second}))
	large := open(t, s.config(host.Config{Workload: echoBytes, MaxItems: 50}))
	totals := open(t, s.config(host.Config{Workload: total, Standby: 1}))
	troubled := open(t, s.config(host.Config{Workload: mayhem, Standby: 1, Threads: 2, ItemTimeout: time.Second, MaxResultBytes: chaosMaxResult}))

	var hands sync.WaitGroup
	for name, work := range map[string]func() int{
		"numbers":  func() int { return s.numbers(numbers) },
		"large":    func() int { return s.large(large) },
		"buffers":  func() int { return s.buffers(totals) },
		"troubles": func() int { return s.troubles(troubled) },
		"cancels":  func() int { return s.cancels(numbers) },
		"retries":  func() int { return s.retries() },
		"pools":    func() int { return s.pools() },
	} {
		rounds := new(atomic.Int64)
		s.done[name] = rounds
		hands.Go(func() {
			for !isClosed(s.stop) && !t.Failed() {
				s.items.Add(int64(work()))
				rounds.Add(1)
			}
		})
	}
	samples := s.watch()
	close(s.stop)
	hands.Wait()
	for _, p := range []*host.Pool{numbers, large, totals, troubled} {
		if err := p.Shutdown(t.Context()); err != nil {
			t.Errorf("Shutdown: got %v", err)
		}
	}
	for name, rounds := range s.done {
		if rounds.Load() == 0 {
			t.Errorf("%s: got no round done, want some", name)
		}
	}
	s.report(samples)
	checkLeft(t, before, mark)
}

func (s *soak) config(cfg host.Config) host.Config {
	cfg.Workers, cfg.Grace, cfg.Env = 2, 100*time.Millisecond, s.env
	return cfg
}

// watch takes samples until the time is over.
func (s *soak) watch() []sample {
	begun := time.Now()
	tick := time.NewTicker(min(time.Second, *soakTime/60))
	defer tick.Stop()
	var samples []sample
	for at := range tick.C {
		samples = append(samples, takeSample(s.t, at.Sub(begun), s.items.Load()))
		if at.Sub(begun) >= *soakTime || s.t.Failed() {
			break
		}
	}
	return samples
}

// report shows what was seen, and fails the test for what has grown.
func (s *soak) report(samples []sample) {
	s.t.Helper()
	if len(samples) < 20 {
		s.t.Errorf("got %d samples, which say nothing", len(samples))
		return
	}
	var b strings.Builder
	b.WriteString("\n    time       items")
	for _, g := range gauges {
		fmt.Fprintf(&b, " %12s", g.name)
	}
	rows := min(20, len(samples))
	for row := range rows {
		r := samples[row*(len(samples)-1)/(rows-1)]
		fmt.Fprintf(&b, "\n%8s %11d", r.at.Round(100*time.Millisecond), r.items)
		for _, v := range r.values {
			fmt.Fprintf(&b, " %12.0f", v)
		}
	}
	b.WriteString("\nrise over the second half, its standard error, and the most that it may be:")
	for i, g := range gauges {
		rise, deviation, tooMuch := growing(samples, i, g.most)
		fmt.Fprintf(&b, "\n%20s %8.2f ± %5.2f of %3.0f", g.name, rise, deviation, g.most)
		if tooMuch && *soakTime >= warm {
			s.t.Errorf("%s: got a rise of %.1f ± %.1f over the second half, want at most %.0f", g.name, rise, deviation, g.most)
		}
	}
	b.WriteString("\nrounds of each hand:")
	for name, rounds := range s.done {
		fmt.Fprintf(&b, " %s %d", name, rounds.Load())
	}
	s.t.Log(b.String())
}

func (s *soak) numbers(p *host.Pool) int {
	const n = 50_000
	got, err := typed[float64, float64](p).Map(s.t.Context(), upTo(n))
	if err != nil || got[n-1] != (n-1)/2.0 || got[1] != 0.5 {
		s.t.Errorf("numbers: got %v", err)
	}
	return n
}

func (s *soak) large(p *host.Pool) int {
	items := make([][]byte, 8)
	for i := range items {
		items[i] = bytes.Repeat([]byte{byte(i + 1)}, rand.IntN(2<<20))
	}
	got, err := typed[[]byte, []byte](p).Map(s.t.Context(), items)
	if err != nil || !slices.EqualFunc(got, items, bytes.Equal) {
		s.t.Errorf("large items: got %v, or others than were given", err)
	}
	return len(items)
}

func (s *soak) buffers(p *host.Pool) int {
	buf, err := host.NewBuffer[float64](p, 1<<20)
	if err != nil {
		s.t.Errorf("a buffer: %v", err)
		return 0
	}
	defer buf.Free()
	for i := range buf.Slice {
		buf.Slice[i] = 1
	}
	items := slices.Collect(slices.Chunk(buf.Slice, 1<<16))
	sums, err := typed[[]float64, float64](p).Map(s.t.Context(), items)
	if err != nil || slices.ContainsFunc(sums, func(x float64) bool { return x != 1<<16 }) {
		s.t.Errorf("sums of a buffer: got %v, %v", sums, err)
	}
	return len(items)
}

// troubles are the deeds of the chaos tests, less those that take a second each, and those that others feel: here two run in a process.
func (s *soak) troubles(p *host.Pool) int {
	quick := slices.DeleteFunc(slices.Clone(deeds), func(d deed) bool { return d.hangs() || d.taints })
	plan := &plan{seed: rand.Uint64(), every: 20, deeds: quick}
	n := 20 * len(quick)
	next := 0
	for r, err := range typed[trouble, outcome](p).Stream(s.t.Context(), plan.items(n)) {
		if err != nil {
			s.t.Errorf("troubles: got %v", err)
			return next
		}
		if d := plan.at(r.Index); r.Index != next || d.check(r) != "" && !s.before.mistaken(s.t, r.Err) {
			s.t.Errorf("troubles, seed %d, item %d (%s): %s", plan.seed, next, d.name, d.check(r))
		}
		next++
	}
	return n
}

// cancels gives up in the middle of things, in each way there is.
func (s *soak) cancels(p *host.Pool) int {
	ctx, cancel := context.WithTimeout(s.t.Context(), rand.N(20*time.Millisecond))
	defer cancel()
	if _, err := typed[float64, float64](p).Map(ctx, upTo(100_000)); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		s.t.Errorf("Map with a deadline: got %v", err)
	}
	taken := 0
	for _, err := range typed[float64, float64](p).Unordered(s.t.Context(), slices.Values(upTo(1000))) {
		if taken++; taken > 500 || err != nil {
			break
		}
	}
	h := typed[float64, float64](p).Start(s.t.Context(), 2)
	h.Cancel()
	if got, err := value(h.Wait(s.t.Context())); err != nil && !errors.Is(err, host.ErrCanceled) || err == nil && got != 1 {
		s.t.Errorf("an item that was canceled: got %v, %v", got, err)
	}
	return taken
}

// retries has items that succeed the second time, in a pool of its own.
func (s *soak) retries() int {
	p, err := host.Open(s.t.Context(), s.config(host.Config{Workload: idempotent, Retries: 3}))
	if err != nil {
		s.t.Errorf("Open: got %v", err)
		return 0
	}
	defer p.Close()
	dir, err := os.MkdirTemp("", "once")
	if err != nil {
		s.t.Error(err)
		return 0
	}
	defer func() {
		if err := os.RemoveAll(dir); err != nil {
			s.t.Error(err)
		}
	}()
	items := orders(50, map[int]order{10: {Do: "once", S: dir + "/a"}, 20: {Do: "once", S: dir + "/b"}})
	got, err := typed[order, string](p).Map(s.t.Context(), items)
	if err != nil || got[10] != "again" || got[20] != "again" || got[30] != "30" {
		s.t.Errorf("items that crash once: got %v, %v", got, err)
	}
	return len(items)
}

// pools opens a pool, lets it do little, and ends it, now this way, now that.
func (s *soak) pools() int {
	cfg := s.config(host.Config{Workload: chaos, Inline: rand.IntN(4) == 0, Eager: rand.IntN(2) == 0})
	if rand.IntN(4) == 0 {
		cfg.Mode = host.ModeGoroutine
	}
	p, err := host.Open(s.t.Context(), cfg)
	if err != nil {
		s.t.Errorf("Open: got %v", err)
		return 0
	}
	defer p.Close()
	n := rand.IntN(100)
	if _, err := typed[order, string](p).Map(s.t.Context(), orders(n, nil)); err != nil {
		s.t.Errorf("a short-lived pool: got %v", err)
	}
	if rand.IntN(2) == 0 {
		h := typed[order, string](p).Start(s.t.Context(), order{Do: "hold"})
		p.Close()
		<-h.Done()
	} else if err := p.Shutdown(s.t.Context()); err != nil {
		s.t.Errorf("Shutdown: got %v", err)
	}
	return n
}
