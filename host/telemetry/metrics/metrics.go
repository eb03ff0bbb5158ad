// Package metrics shows runs as metrics for Prometheus, by what a [history.Store] knows. Names and units follow Prometheus's conventions
// (https://prometheus.io/docs/practices/naming).
package metrics

import (
	"maps"
	"math"
	"net/http"
	"slices"
	"strconv"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/host/history"
)

// Collector is a [prometheus.Collector] of runs. The zero value has no run. All methods may be called from any goroutine.
type Collector struct {
	mu   sync.Mutex
	runs []run
}

var _ prometheus.Collector = (*Collector)(nil)

type run struct {
	store *history.Store
	names []string // values of the labels that all metrics of the run have
}

// Add adds a run of a plugin. mode tells runs of the same plugin apart.
func (c *Collector) Add(plugin, mode string, s *history.Store) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.runs = append(c.runs, run{s, []string{plugin, mode}})
}

// Handler returns a handler that answers with the metrics of the runs, and with those of this process.
func (c *Collector) Handler() (http.Handler, error) {
	registry := prometheus.NewPedanticRegistry()
	for _, collector := range []prometheus.Collector{c, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})} {
		if err := registry.Register(collector); err != nil {
			return nil, err
		}
	}
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4}), nil
}

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("parhost_"+name, help, append([]string{"plugin", "mode"}, labels...), nil)
}

var (
	items     = describe("items_total", "Items that have an outcome.", "outcome")
	failures  = describe("item_failures_total", "Items that failed, by the kind of their error.", "kind")
	retries   = describe("item_retries_total", "Attempts after which an item was begun again.")
	itemTime  = describe("item_duration_seconds", "Time of an item in the workload.")
	itemWait  = describe("item_wait_seconds", "Time between an item being put into a batch and being sent to a worker.")
	batchSize = describe("batch_items", "Items in a batch.")
	dispatch  = describe("dispatch_seconds_total", "Time that batches took beyond the workload, all workers together.")
	workers   = describe("workers", "Workers of the pool.", "state")
	starts    = describe("worker_starts_total", "Workers that became ready, replacements included.")
	replaced  = describe("worker_replacements_total", "Workers that took the place of another one.")
	deaths    = describe("worker_deaths_total", "Workers whose process died.", "cause")
	memory    = describe("worker_resident_memory_bytes", "Resident memory of a worker's process.", "worker")
	cpu       = describe("worker_cpu_seconds_total", "CPU time that a worker's process has used.", "worker")
	moved     = describe("transferred_bytes_total", "Bytes of items and results that went to workers and back.", "path")
	queued    = describe("queued_items", "Items that have been read and belong to no batch yet.")
	held      = describe("held_items", "Items in batches whose results have not been taken.")
	waiting   = describe("waiting_seconds_total", "Time that the run waited, by what it waited for.", "for")
)

// Describe implements [prometheus.Collector].
func (c *Collector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		items, failures, retries, itemTime, itemWait, batchSize, dispatch, workers, starts, replaced, deaths, memory, cpu, moved, queued, held, waiting,
	} {
		out <- d
	}
}

// Collect implements [prometheus.Collector].
func (c *Collector) Collect(out chan<- prometheus.Metric) {
	c.mu.Lock()
	runs := slices.Clone(c.runs)
	c.mu.Unlock()
	seen := map[string]bool{}
	for _, r := range slices.Backward(runs) {
		if key := strconv.Quote(r.names[0]) + r.names[1]; !seen[key] { // a metric must not come twice
			seen[key] = true
			r.collect(out)
		}
	}
}

func (r *run) collect(out chan<- prometheus.Metric) {
	send := func(d *prometheus.Desc, kind prometheus.ValueType, value float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, kind, value, append(slices.Clone(r.names), labels...)...)
	}
	const counter, gauge = prometheus.CounterValue, prometheus.GaugeValue
	t, state := r.store.Totals(), r.store.State()
	send(items, counter, float64(t.OK), "ok")
	send(items, counter, float64(t.Failed), "failed")
	send(items, counter, float64(t.Resumed), "resumed")
	for _, kind := range slices.Sorted(maps.Keys(t.Kinds)) {
		send(failures, counter, float64(t.Kinds[kind]), string(kind))
	}
	send(retries, counter, float64(t.Retried))
	took, waited := r.store.Times()
	sizes := r.store.BatchSizes()
	r.histogram(out, itemTime, &took, took.Sum().Seconds(), secondBuckets, 1e9)
	r.histogram(out, itemWait, &waited, waited.Sum().Seconds(), secondBuckets, 1e9)
	r.histogram(out, batchSize, &sizes, float64(sizes.Sum()), sizeBuckets, 1)
	send(dispatch, counter, t.Dispatch.Seconds())
	r.workers(send, &state)
	send(starts, counter, float64(t.Starts))
	send(replaced, counter, float64(t.Replaced))
	for _, cause := range slices.Sorted(maps.Keys(t.Deaths)) {
		send(deaths, counter, float64(t.Deaths[cause]), string(cause))
	}
	send(moved, counter, float64(t.Traffic.Messages), "messages")
	send(moved, counter, float64(t.Traffic.Arena), "arena")
	send(moved, counter, float64(t.Traffic.Buffers), "buffers")
	send(queued, gauge, float64(state.Queued))
	send(held, gauge, float64(state.Held))
	for _, share := range r.store.Waits() {
		send(waiting, counter, share.Took.Seconds(), string(share.Wait))
	}
}

// workers sends the states of the workers, and what their processes use.
func (r *run) workers(send func(*prometheus.Desc, prometheus.ValueType, float64, ...string), state *host.State) {
	counts := map[string]int{"idle": 0, "busy": 0, "standby": 0, "starting": state.Starting, "delayed": state.Delayed}
	for i := range state.Workers {
		w := &state.Workers[i]
		switch {
		case w.Standby:
			counts["standby"]++
			continue // its number may be that of the worker whose place it will take
		case w.Batches > 0:
			counts["busy"]++
		default:
			counts["idle"]++
		}
	}
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		send(workers, prometheus.GaugeValue, float64(counts[name]), name)
	}
	seen := map[int]bool{} // for a moment, a worker and its replacement are both there
	for _, w := range r.store.Workers() {
		if w.Mode == host.ModeProcess && w.RSS > 0 && !seen[w.Worker] {
			seen[w.Worker] = true
			send(memory, prometheus.GaugeValue, float64(w.RSS), strconv.Itoa(w.Worker))
			send(cpu, prometheus.CounterValue, w.CPU.Seconds(), strconv.Itoa(w.Worker))
		}
	}
}

var (
	secondBuckets = prometheus.ExponentialBuckets(1e-6, math.Sqrt(10), 17) // 1 µs to 100 s
	sizeBuckets   = prometheus.ExponentialBuckets(1, 4, 10)
)

// histogram sends a histogram with wider buckets. unit is what its durations are divided by.
func (r *run) histogram(out chan<- prometheus.Metric, d *prometheus.Desc, h *history.Histogram, sum float64, buckets []float64, unit float64) {
	counts := make(map[float64]uint64, len(buckets))
	bars := h.Bars()
	for _, limit := range buckets {
		n := 0
		for _, b := range bars {
			if float64(b.From)/unit <= limit { // the bar is at most six percent wide
				n += b.Count
			}
		}
		counts[limit] = uint64(n)
	}
	out <- prometheus.MustNewConstHistogram(d, uint64(h.Count()), sum, counts, r.names...)
}
