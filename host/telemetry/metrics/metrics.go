// Package metrics shows runs as metrics for Prometheus, by what a [history.Store] knows. Names and units follow Prometheus's conventions
// (https://prometheus.io/docs/practices/naming).
package metrics

import (
	"bytes"
	"cmp"
	"maps"
	"math"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/host/history"
)

// Exporter answers requests with the metrics of runs, and with those of this process. The zero value has no run. All methods may be called from any goroutine.
type Exporter struct {
	mu   sync.Mutex
	runs []run
}

var _ http.Handler = (*Exporter)(nil)

type run struct {
	store        *history.Store
	plugin, mode string // values of the labels that all metrics of the run have
}

// Add adds a run of a plugin. mode tells runs of the same plugin apart. Of several runs with the same plugin and mode, the last one is shown.
func (e *Exporter) Add(plugin, mode string, s *history.Store) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.runs = append(e.runs, run{s, strings.ToValidUTF8(plugin, "\uFFFD"), strings.ToValidUTF8(mode, "\uFFFD")})
}

// ServeHTTP implements [http.Handler]. It answers in the format that the request prefers, of those that Prometheus reads.
func (e *Exporter) ServeHTTP(w http.ResponseWriter, r *http.Request) { send(w, r, e.gather()) }

// send answers a request with metrics.
func send(w http.ResponseWriter, r *http.Request, list []*dto.MetricFamily) {
	format := expfmt.NegotiateAccept(r.Header, expfmt.DefaultAcceptedFormats()...)
	var answer bytes.Buffer
	encoder := expfmt.NewEncoder(&answer, format)
	for _, family := range list {
		if err := encoder.Encode(family); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
	}
	w.Header().Set("Content-Type", string(format))
	_, _ = w.Write(answer.Bytes()) // the client may have gone away
}

// gather returns the metrics, in the order of their names.
func (e *Exporter) gather() []*dto.MetricFamily {
	e.mu.Lock() // one answer at a time
	defer e.mu.Unlock()
	f := families{}
	f.process()
	seen := map[[2]string]bool{}
	for _, r := range slices.Backward(e.runs) {
		if key := [2]string{r.plugin, r.mode}; !seen[key] { // a metric must not come twice
			seen[key] = true
			r.collect(f)
		}
	}
	return f.sorted()
}

// A metric describes a family of metrics. label is the label that they have beside plugin and mode; empty if there is none.
type metric struct {
	name  string
	kind  dto.MetricType
	label string
	help  string
}

const (
	counter   = dto.MetricType_COUNTER
	gauge     = dto.MetricType_GAUGE
	histogram = dto.MetricType_HISTOGRAM
)

var (
	items     = metric{"parhost_items_total", counter, "outcome", "Items that have an outcome."}
	failures  = metric{"parhost_item_failures_total", counter, "kind", "Items that failed, by the kind of their error."}
	retries   = metric{"parhost_item_retries_total", counter, "", "Attempts after which an item was begun again."}
	itemTime  = metric{"parhost_item_duration_seconds", histogram, "", "Time of an item in the workload."}
	itemWait  = metric{"parhost_item_wait_seconds", histogram, "", "Time between an item being put into a batch and being sent to a worker."}
	batchSize = metric{"parhost_batch_items", histogram, "", "Items in a batch."}
	dispatch  = metric{"parhost_dispatch_seconds_total", counter, "", "Time that batches took beyond the workload, all workers together."}
	workers   = metric{"parhost_workers", gauge, "state", "Workers of the pool."}
	starts    = metric{"parhost_worker_starts_total", counter, "", "Workers that became ready, replacements included."}
	replaced  = metric{"parhost_worker_replacements_total", counter, "", "Workers that took the place of another one."}
	deaths    = metric{"parhost_worker_deaths_total", counter, "cause", "Workers whose process died."}
	memory    = metric{"parhost_worker_resident_memory_bytes", gauge, "worker", "Resident memory of a worker's process."}
	cpu       = metric{"parhost_worker_cpu_seconds_total", counter, "worker", "CPU time that a worker's process has used."}
	moved     = metric{"parhost_transferred_bytes_total", counter, "path", "Bytes of items and results that went to workers and back."}
	queued    = metric{"parhost_queued_items", gauge, "", "Items that have been read and belong to no batch yet."}
	held      = metric{"parhost_held_items", gauge, "", "Items in batches whose results have not been taken."}
	waiting   = metric{"parhost_waiting_seconds_total", counter, "for", "Time that the run waited, by what it waited for."}

	ownMemory  = metric{"process_resident_memory_bytes", gauge, "", "Resident memory of this process."}
	ownCPU     = metric{"process_cpu_seconds_total", counter, "", "CPU time that this process has used."}
	ownFiles   = metric{"process_open_fds", gauge, "", "Open file descriptors of this process."}
	goroutines = metric{"go_goroutines", gauge, "", "Goroutines of this process."}
)

// families are the metrics of an answer, by name.
type families map[string]*dto.MetricFamily

// sorted returns the families in the order of their names.
func (f families) sorted() []*dto.MetricFamily {
	return slices.SortedFunc(maps.Values(f), func(a, b *dto.MetricFamily) int { return cmp.Compare(a.GetName(), b.GetName()) })
}

// add adds a metric with these labels to its family.
func (f families) add(m metric, value *dto.Metric, labels []*dto.LabelPair) {
	family := f[m.name]
	if family == nil {
		family = &dto.MetricFamily{Name: &m.name, Help: &m.help, Type: &m.kind}
		f[m.name] = family
	}
	value.Label = labels
	slices.SortFunc(value.Label, func(a, b *dto.LabelPair) int { return cmp.Compare(a.GetName(), b.GetName()) })
	family.Metric = append(family.Metric, value)
}

// number adds a counter or a gauge to its family.
func (f families) number(m metric, value float64, labels []*dto.LabelPair) {
	if m.kind == counter {
		f.add(m, &dto.Metric{Counter: &dto.Counter{Value: &value}}, labels)
	} else {
		f.add(m, &dto.Metric{Gauge: &dto.Gauge{Value: &value}}, labels)
	}
}

// process adds the metrics of this process that the system tells.
func (f families) process() {
	f.number(goroutines, float64(runtime.NumGoroutine()), nil)
	for m, value := range own() {
		f.number(m, value, nil)
	}
}

func pair(name, value string) *dto.LabelPair { return &dto.LabelPair{Name: &name, Value: &value} }

// labels returns the labels of a metric of the run.
func (r *run) labels(m metric, own string) []*dto.LabelPair {
	all := []*dto.LabelPair{pair("plugin", r.plugin), pair("mode", r.mode)}
	if m.label != "" {
		all = append(all, pair(m.label, own))
	}
	return all
}

func (r *run) collect(f families) {
	send := func(m metric, value float64, label string) { f.number(m, value, r.labels(m, label)) }
	t, state := r.store.Totals(), r.store.State()
	send(items, float64(t.OK), "ok")
	send(items, float64(t.Failed), "failed")
	send(items, float64(t.Resumed), "resumed")
	for _, kind := range slices.Sorted(maps.Keys(t.Kinds)) {
		send(failures, float64(t.Kinds[kind]), string(kind))
	}
	send(retries, float64(t.Retried), "")
	took, waited := r.store.Times()
	sizes := r.store.BatchSizes()
	r.histogram(f, itemTime, &took, took.Sum().Seconds(), secondBuckets, 1e9)
	r.histogram(f, itemWait, &waited, waited.Sum().Seconds(), secondBuckets, 1e9)
	r.histogram(f, batchSize, &sizes, float64(sizes.Sum()), sizeBuckets, 1)
	send(dispatch, t.Dispatch.Seconds(), "")
	r.workers(send, &state)
	send(starts, float64(t.Starts), "")
	send(replaced, float64(t.Replaced), "")
	for _, cause := range slices.Sorted(maps.Keys(t.Deaths)) {
		send(deaths, float64(t.Deaths[cause]), string(cause))
	}
	send(moved, float64(t.Traffic.Messages), "messages")
	send(moved, float64(t.Traffic.Arena), "arena")
	send(moved, float64(t.Traffic.Buffers), "buffers")
	send(queued, float64(state.Queued), "")
	send(held, float64(state.Held), "")
	for _, share := range r.store.Waits() {
		send(waiting, share.Took.Seconds(), string(share.Wait))
	}
}

// workers sends the states of the workers, and what their processes use.
func (r *run) workers(send func(metric, float64, string), state *host.State) {
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
		send(workers, float64(counts[name]), name)
	}
	seen := map[int]bool{} // for a moment, a worker and its replacement are both there
	for _, w := range r.store.Workers() {
		if w.Mode == host.ModeProcess && w.RSS > 0 && !seen[w.Worker] {
			seen[w.Worker] = true
			send(memory, float64(w.RSS), strconv.Itoa(w.Worker))
			send(cpu, w.CPU.Seconds(), strconv.Itoa(w.Worker))
		}
	}
}

var (
	secondBuckets = exponential(1e-6, math.Sqrt(10), 17) // 1 µs to 100 s
	sizeBuckets   = exponential(1, 4, 10)
)

// exponential returns n upper limits of buckets, each of which is factor times the one before.
func exponential(first, factor float64, n int) []float64 {
	limits := make([]float64, n)
	for i := range limits {
		limits[i] = first * math.Pow(factor, float64(i))
	}
	return limits
}

// histogram adds a histogram with wider buckets. unit is what its durations are divided by.
func (r *run) histogram(f families, m metric, h *history.Histogram, sum float64, buckets []float64, unit float64) {
	bars, count := h.Bars(), uint64(h.Count())
	value := &dto.Histogram{SampleCount: &count, SampleSum: &sum}
	for _, limit := range buckets {
		n := uint64(0)
		for _, b := range bars {
			if float64(b.From)/unit <= limit { // the bar is at most six percent wide
				n += uint64(b.Count)
			}
		}
		value.Bucket = append(value.Bucket, &dto.Bucket{CumulativeCount: &n, UpperBound: &limit})
	}
	f.add(m, &dto.Metric{Histogram: value}, r.labels(m, ""))
}
