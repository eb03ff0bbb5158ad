package conform

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/parhost/parhost/internal/wire/workerpb"
)

// Starter starts a new worker of the workload under test. ctx bounds the start.
type Starter func(ctx context.Context) (*Worker, error)

// These limits bound the time and memory of a check. A workload may be slow, and a check of the order of results needs no thousand slow items.
const (
	answer    = 10 * time.Second       // for an answer that needs no run of an item
	aim       = 300 * time.Millisecond // total run time of the items of a check that needs no particular number
	manyMost  = 1000                   // items in one batch
	manyBytes = 16 << 20               // bytes of results in one batch, by the sizes that the items gave alone
	largest   = 4 << 20                // bytes; only items with a result of at most this size run in large batches
	longMost  = 20000                  // items in a batch that must still be running when it is canceled or its stream breaks
)

// item is one input of the checks, with the result that it first gave.
type item struct {
	text   []byte        // the item as JSON
	result []byte        // the result of its first run, as JSON; nil if it failed
	took   time.Duration // duration of its first run
}

// trial is the state of the checks of one workload.
type trial struct {
	start     Starter
	maxResult uint64             // limit for the bytes of a result; 0 means no limit
	manifest  *workerpb.Manifest // with schemas
	given     [][]byte

	itemSchema, resultSchema string // empty if there is no usable schema

	items  []item // those that gave a result, the quickest first
	kept   int    // total bytes of the results in items
	left   int    // number of items whose result was not kept, for lack of room
	steady bool   // a second run of the items gave the same results

	shared *Stream // for checks that leave the worker usable
	used   []*Worker
}

// Run checks a workload with the examples of its manifest, and with items, each of which is one JSON text. Each item runs many times. maxResult
// limits the bytes of a result, and thereby the memory for results; 0 means that neither is limited.
//
// It returns an error if no worker could be started or described, and the context's cause if ctx ends first.
func Run(ctx context.Context, start Starter, maxResult uint64, items ...json.RawMessage) (*Report, error) {
	t := &trial{start: start, maxResult: maxResult}
	for _, text := range items {
		t.given = append(t.given, text)
	}
	defer t.close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w, err := t.worker(ctx)
	if err != nil {
		return nil, err
	}
	asked, stop := context.WithTimeout(ctx, answer)
	defer stop()
	r, err := w.Service.Describe(asked, &workerpb.DescribeRequest{Schemas: true})
	if err != nil {
		return nil, fmt.Errorf("describe: %w", err)
	}
	if t.manifest = r.GetManifest(); t.manifest == nil {
		return nil, errors.New("describe: the plugin sent no manifest")
	}
	if t.shared, err = OpenStream(ctx, w, t.manifest.GetResultKind(), 1, maxResult); err != nil {
		return nil, err
	}
	report := &Report{Name: t.manifest.GetName(), Version: t.manifest.GetVersion(), SDK: t.manifest.GetSdk()}
	for _, c := range checks {
		done := Check{Name: c.name, Promise: c.promise, Status: OK}
		done.Outcome, err = c.run(ctx, t)
		if ctx.Err() != nil {
			return report, context.Cause(ctx)
		}
		var skip *skipError
		switch {
		case errors.As(err, &skip):
			done.Status, done.Outcome = Skipped, skip.Error()
		case err != nil:
			done.Status, done.Outcome = Failed, strings.Join(strings.Fields(err.Error()), " ")
		}
		report.Checks = append(report.Checks, done)
	}
	return report, nil
}

// skipError says why a check does not apply.
type skipError struct{ why string }

func (e *skipError) Error() string { return e.why }

func skip(format string, args ...any) error { return &skipError{fmt.Sprintf(format, args...)} }

func (t *trial) close() {
	for _, w := range t.used {
		w.Kill()
	}
}

// worker starts a worker, which is killed when the trial ends.
func (t *trial) worker(ctx context.Context) (*Worker, error) {
	w, err := t.start(ctx)
	if err != nil {
		return nil, err
	}
	t.used = append(t.used, w)
	return w, nil
}

// own starts a worker for one check and opens its stream. If maxResult is 0, the trial's own limit applies.
func (t *trial) own(ctx context.Context, threads int, maxResult uint64) (*Stream, error) {
	w, err := t.worker(ctx)
	if err != nil {
		return nil, err
	}
	return OpenStream(ctx, w, t.manifest.GetResultKind(), threads, cmp.Or(maxResult, t.maxResult))
}

// stream returns the stream that checks share, or opens a new one if that has ended.
func (t *trial) stream(ctx context.Context) (*Stream, error) {
	if t.shared.alive() {
		t.shared.forget()
		return t.shared, nil
	}
	s, err := t.own(ctx, 1, 0)
	if err == nil {
		t.shared = s
	}
	return s, err
}

// maxPatience is the longest time for an example, whatever run time the manifest hints at. The text of parhost plugins verify --help states it too.
const maxPatience = 10 * time.Minute

// patience returns the time limit for the first run of an example, for which only the manifest's hint of the run time is known.
func (t *trial) patience() time.Duration {
	hint := time.Duration(min(t.manifest.GetItemTimeNs(), uint64(maxPatience)))
	return min(time.Minute+20*hint, maxPatience)
}

// limit returns the time limit for a batch of n items that have run before.
func (t *trial) limit(n int) time.Duration {
	return answer + time.Duration(n)*10*t.slowest()
}

func (t *trial) slowest() time.Duration {
	if len(t.items) == 0 {
		return 0
	}
	return t.items[len(t.items)-1].took
}

// some returns as many items as run for about d: no more than atMost, but at least 3. It repeats the quickest items.
func (t *trial) some(d time.Duration, atMost int) ([]item, error) {
	if len(t.items) == 0 {
		return nil, skip("no example ran")
	}
	var quick []item
	var round time.Duration
	bytes := 0
	for _, i := range t.items {
		if len(quick) < 8 && len(i.result) <= largest {
			quick = append(quick, i)
			round += i.took
			bytes += len(i.result)
		}
	}
	if len(quick) == 0 {
		return nil, skip("no example has a result of at most %d bytes", largest)
	}
	n := min(atMost, len(quick)*manyBytes/max(1, bytes))
	if mean := round / time.Duration(len(quick)); mean > 0 {
		n = int(min(int64(n), int64(d/mean)))
	}
	var list []item
	for i := range max(n, 3) {
		list = append(list, quick[i%len(quick)])
	}
	return list, nil
}

// order returns a batch of items in JSON format.
func order(items []item) Order {
	texts := make([][]byte, len(items))
	for i := range items {
		texts[i] = items[i].text
	}
	return Order{Count: len(texts), Items: Column(texts, false), JSON: true}
}

// compare returns an error if an item of a batch, run as JSON, failed or gave another result than in its first run.
func (t *trial) compare(b *Batch, items []item) error {
	for i := range b.Values {
		if e := b.Errors[i]; e != nil {
			return fmt.Errorf("item %d of %d, %s: %s: %s", i, len(items), short(items[i].text), e.Kind, e.Message)
		}
		if t.steady && !sameJSON(b.Values[i], items[i].result) {
			return fmt.Errorf("item %d of %d, %s: got %s, alone it gave %s", i, len(items), short(items[i].text), short(b.Values[i]), short(items[i].result))
		}
	}
	return nil
}

// complete does what compare does, and also returns an error if the worker handed items back.
func (t *trial) complete(b *Batch, items []item) error {
	if b.done() != len(items) {
		return fmt.Errorf("%d of %d items came back without a reason", len(items)-b.done(), len(items))
	}
	return t.compare(b, items)
}

// short shortens a value for an error message.
func short(text []byte) string {
	const most = 60
	if len(text) <= most {
		return string(text)
	}
	return strings.ToValidUTF8(string(text[:most]), "") + "…"
}

// keep stores an item and its result in t.items, sorted by run time. If there is no room for the result, it only counts the item.
func (t *trial) keep(i item) {
	if t.maxResult > 0 && t.kept+len(i.result) > keptBytes {
		t.left++
		return
	}
	t.kept += len(i.result)
	at, _ := slices.BinarySearchFunc(t.items, i, func(a, b item) int { return int(a.took - b.took) })
	t.items = slices.Insert(t.items, at, i)
}
