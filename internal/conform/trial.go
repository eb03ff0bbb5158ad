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

// Starter starts another worker of the workload that is checked. ctx bounds the start.
type Starter func(ctx context.Context) (*Worker, error)

// What a check may spend. A workload is slow or quick, and nobody wants to wait for a thousand slow items to see them come in
// order.
const (
	answer    = 10 * time.Second       // for what takes no time
	aim       = 300 * time.Millisecond // of running items, if there is no reason for more
	manyMost  = 1000                   // items in one batch
	manyBytes = 16 << 20               // of the results that they had alone
	largest   = 4 << 20                // bytes of a result whose item runs in batches of many
	longMost  = 20000                  // items in a batch that is to be running when something happens to it
)

// item is one item that the checks use.
type item struct {
	text   []byte        // as JSON
	result []byte        // as JSON, of the first time it ran; nil if it failed
	took   time.Duration // that time
}

// trial is the checks of one workload under way.
type trial struct {
	start     Starter
	maxResult uint64             // bytes of a result; 0 means no limit
	manifest  *workerpb.Manifest // with schemas
	given     [][]byte

	itemSchema, resultSchema string // empty if they are none that can be used

	items  []item // that have a result, quick ones first
	kept   int    // bytes of their results
	left   int    // how many had a result that was not kept
	steady bool   // the same items gave the same results twice

	shared *Stream // for checks that do the worker no harm
	used   []*Worker
}

// Run checks a workload: with the examples of its manifest, and with items, each of them one JSON text. Each item runs many times.
// maxResult limits the bytes of a result, and with them the memory for results. 0 means no limit for either.
//
// The error says that no worker could be started, or that ctx has ended.
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

// worker starts a worker, which ends with the trial.
func (t *trial) worker(ctx context.Context) (*Worker, error) {
	w, err := t.start(ctx)
	if err != nil {
		return nil, err
	}
	t.used = append(t.used, w)
	return w, nil
}

// own starts a worker and opens its stream. With a maxResult of 0 the trial's own limit holds.
func (t *trial) own(ctx context.Context, threads int, maxResult uint64) (*Stream, error) {
	w, err := t.worker(ctx)
	if err != nil {
		return nil, err
	}
	return OpenStream(ctx, w, t.manifest.GetResultKind(), threads, cmp.Or(maxResult, t.maxResult))
}

// stream returns the stream that checks share, a new one if it has ended.
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

// mostPatience is how long an example may take, whatever its author says; parhost plugins verify --help says so too.
const mostPatience = 10 * time.Minute

// patience is how long an example may take, of which nothing is known but the author's hint.
func (t *trial) patience() time.Duration {
	hint := time.Duration(min(t.manifest.GetItemTimeNs(), uint64(mostPatience)))
	return min(time.Minute+20*hint, mostPatience)
}

// limit is how long n of the items that have run before may take this time.
func (t *trial) limit(n int) time.Duration {
	return answer + time.Duration(n)*10*t.slowest()
}

func (t *trial) slowest() time.Duration {
	if len(t.items) == 0 {
		return 0
	}
	return t.items[len(t.items)-1].took
}

// some returns about so many items as run for d together, at least a few: the quick ones over and over.
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

// order makes a batch of items that travel as JSON.
func order(items []item) Order {
	texts := make([][]byte, len(items))
	for i := range items {
		texts[i] = items[i].text
	}
	return Order{Count: len(texts), Items: Column(texts, false), JSON: true}
}

// compare says whether a batch, run as JSON, has the results that its items have had before.
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

// complete is compare for a batch of which nothing may be left.
func (t *trial) complete(b *Batch, items []item) error {
	if b.done() != len(items) {
		return fmt.Errorf("%d of %d items came back without a reason", len(items)-b.done(), len(items))
	}
	return t.compare(b, items)
}

// short cuts a value for an error message.
func short(text []byte) string {
	const most = 60
	if len(text) <= most {
		return string(text)
	}
	return strings.ToValidUTF8(string(text[:most]), "") + "…"
}

// keep remembers an item and its result, as long as there is room. Quick items come first.
func (t *trial) keep(i item) {
	if t.maxResult > 0 && t.kept+len(i.result) > keptBytes {
		t.left++
		return
	}
	t.kept += len(i.result)
	at, _ := slices.BinarySearchFunc(t.items, i, func(a, b item) int { return int(a.took - b.took) })
	t.items = slices.Insert(t.items, at, i)
}
