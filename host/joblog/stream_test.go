package joblog_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/host/joblog"
)

func TestAResultIsYieldedAfterItsRecordHasBeenWritten(t *testing.T) {
	p := openPool(t, echo)
	for name, stream := range map[string]func(*joblog.Journal) results{
		"ordered":   func(j *joblog.Journal) results { return j.Stream(t.Context(), p, numbers(300)) },
		"unordered": func(j *joblog.Journal) results { return j.Unordered(t.Context(), p, numbers(300)) },
	} {
		t.Run(name, func(t *testing.T) {
			path := newPath(t)
			j := openJournal(t, path)
			n := 0
			for r, err := range stream(j) {
				if err != nil {
					t.Fatal(err)
				}
				if n++; !bytes.Contains(readFile(t, path), fmt.Appendf(nil, `"value":%s,`, r.Value)) {
					t.Fatalf("item %d has been yielded, and its record is not in the file", r.Index)
				}
			}
			if n != 300 {
				t.Errorf("got %d results, want 300", n)
			}
		})
	}
}

func TestUnorderedYieldsWhatIsThereFirst(t *testing.T) {
	path := newPath(t)
	runAll(t, openPool(t, echo), path, texts("1", "3"))
	last := make(chan struct{})
	p := openPool(t, func(ctx context.Context, item json.RawMessage) (json.RawMessage, error) {
		if string(item) == "0" {
			<-last
		}
		return echo(ctx, item)
	})
	j := openJournal(t, path)
	var got []int
	for r, err := range j.Unordered(t.Context(), p, texts("0", "1", "2", "3")) {
		if err != nil {
			t.Fatal(err)
		}
		if want := fmt.Sprintf("[%d]", r.Index); string(r.Value) != want {
			t.Errorf("item %d: got %s, want %s", r.Index, r.Value, want)
		}
		if got = append(got, r.Index); len(got) == 3 {
			close(last)
		}
	}
	if len(got) != 4 || got[3] != 0 {
		t.Errorf("got the items in the order %v, want 0 last, which ran until the others had been seen", got)
	}
}

func TestASlowReaderDoesNotHoldUpRecords(t *testing.T) {
	path := newPath(t)
	p := openPool(t, echo)
	j := openJournal(t, path)
	for r, err := range j.Stream(t.Context(), p, numbers(2000)) {
		if err != nil {
			t.Fatal(err)
		}
		if r.Index > 0 {
			break
		}
		ticker := time.NewTicker(10 * time.Millisecond) // no event says that another goroutine has written to a file
		for late := time.After(20 * time.Second); bytes.Count(readFile(t, path), []byte("\n")) < 2001; {
			select {
			case <-ticker.C:
			case <-late:
				t.Fatal("while the reader has one of 2000 results, the others are not written")
			}
		}
		ticker.Stop()
	}
}

func TestRecordsAreSyncedWithinASecond(t *testing.T) {
	path := newPath(t)
	synctest.Test(t, func(t *testing.T) {
		j := openJournal(t, path)
		p := openPool(t, echo)
		for _, err := range j.Stream(t.Context(), p, texts("1", "2")) {
			if err != nil {
				t.Fatal(err)
			}
			if j.Unsynced() == 0 {
				t.Error("synced before a second has passed: then the test shows nothing")
			}
			time.Sleep(1100 * time.Millisecond)
			if n := j.Unsynced(); n != 0 {
				t.Errorf("%d bytes are not synced after more than a second", n)
			}
			break
		}
		closeJournal(t, j)
		_ = p.Close()
	})
}

// While one item takes long, results wait for their turn that are larger in total than memory should hold.
func TestResultsThatWaitAreReadFromTheFile(t *testing.T) {
	const n, size = 80, 1 << 20
	path := newPath(t)
	var others sync.WaitGroup
	others.Add(n - 1)
	run := func(_ context.Context, item json.RawMessage) (json.RawMessage, error) {
		var i int
		if err := json.Unmarshal(item, &i); err != nil {
			return nil, err
		}
		if i == 0 {
			others.Wait()
		} else {
			defer others.Done()
		}
		if i%10 == 3 {
			return nil, errors.New(string(bytes.Repeat([]byte("e"), size/20)))
		}
		return fmt.Appendf(nil, "%q", bytes.Repeat([]byte{'a' + byte(i%10)}, size+i)), nil
	}
	check := func(stream results) {
		t.Helper()
		next := 0
		for r, err := range stream {
			switch {
			case err != nil:
				t.Fatal(err)
			case r.Index != next:
				t.Fatalf("got item %d, want %d", r.Index, next)
			case r.Index%10 == 3:
				if r.Err == nil || r.Err.Index != next || !strings.HasPrefix(r.Err.Message, "eee") {
					t.Fatalf("item %d: got error %.100v", next, r.Err)
				}
			case len(r.Value) != 2+size+next || int(r.Value[1]-'a') != next%10 || r.Value[1] != r.Value[size]:
				t.Fatalf("item %d: got %d bytes %.20q", next, len(r.Value), r.Value)
			}
			next++
		}
		if next != n {
			t.Fatalf("got %d results, want %d", next, n)
		}
	}
	j := openJournal(t, path)
	check(j.Stream(t.Context(), openPool(t, run), numbers(n)))
	if got := j.Replayed(); got != 0 {
		t.Errorf("of a first run %d results were replayed", got)
	}
	closeJournal(t, j)
	check(openJournal(t, path).Stream(t.Context(), openPool(t, run), numbers(n)))
}

func TestReadingAheadIsBounded(t *testing.T) {
	const bound = joblog.MostItems
	const most = bound + joblog.GroupItems // when the first group is taken, its first result may not have been yielded yet
	var taken atomic.Bool
	head := make(chan struct{})
	p := openPool(t, func(_ context.Context, item json.RawMessage) (json.RawMessage, error) {
		if string(item) == "0" {
			<-head
		}
		return item, nil
	})
	items := func(yield func(json.RawMessage) bool) {
		for i := range bound + 10_000 {
			if i == bound {
				close(head)
			}
			if i > most && !taken.Load() {
				t.Errorf("item %d is read while the first result is not taken", i)
				return
			}
			if !yield(fmt.Appendf(nil, "%d", i)) {
				return
			}
		}
	}
	j := openJournal(t, newPath(t))
	n := 0
	for _, err := range j.Stream(t.Context(), p, items) {
		if err != nil {
			t.Fatal(err)
		}
		taken.Store(true)
		n++
	}
	if n != bound+10_000 {
		t.Errorf("got %d results, want %d", n, bound+10_000)
	}
}

func TestBreakingOffKeepsWhatIsFinished(t *testing.T) {
	path := newPath(t)
	p := openPool(t, echo)
	j := openJournal(t, path)
	want := lines(j.Stream(t.Context(), p, numbers(1000)), 10)
	closeJournal(t, j)
	j = openJournal(t, path)
	if got := j.Contents().Items; got < 10 {
		t.Errorf("the journal holds %d items after 10 were seen", got)
	}
	got := lines(j.Stream(t.Context(), p, numbers(1000)), all)
	if len(got) != 1000 || !slices.Equal(want, got[:10]) {
		t.Errorf("then got %d results, and first %q, want 1000 and %q", len(got), got[:min(10, len(got))], want)
	}
}

func TestAShutdownKeepsWhatIsFinished(t *testing.T) {
	path := newPath(t)
	began := make(chan struct{}, 1)
	p := openPool(t, func(_ context.Context, item json.RawMessage) (json.RawMessage, error) {
		select {
		case began <- struct{}{}:
		default:
		}
		return item, nil
	})
	endless := func(yield func(json.RawMessage) bool) {
		for i := 0; yield(fmt.Appendf(nil, "%d", i)); i++ {
		}
	}
	go func() {
		<-began
		_ = p.Shutdown(context.WithoutCancel(t.Context()))
	}()
	j := openJournal(t, path)
	got := lines(j.Stream(t.Context(), p, endless), all)
	closeJournal(t, j)
	if last := len(got) - 1; got[last] != "end: "+host.ErrClosed.Error() {
		t.Errorf("the end: got %q, want %q", got[last], host.ErrClosed)
	}
	if c := openJournal(t, path).Contents(); c.Items < len(got)-1 {
		t.Errorf("the journal holds %d items after %d were seen", c.Items, len(got)-1)
	}
}

func TestACancelledItemRunsAgain(t *testing.T) {
	path := newPath(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("enough")
	p := openPool(t, func(ctx context.Context, item json.RawMessage) (json.RawMessage, error) {
		if string(item) == "2" {
			cancel(why)
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return item, nil
	})
	j := openJournal(t, path)
	got := lines(j.Stream(ctx, p, texts("1", "2")), all)
	if last := got[len(got)-1]; last != "end: enough" {
		t.Errorf("the end: got %q, want the context's cause", last)
	}
	closeJournal(t, j)
	want := []string{"item 0: [1]", "item 1: [2]"}
	if got[0] == "item 0: 1" {
		want[0] = got[0]
	}
	again := runAll(t, openPool(t, echo), path, texts("1", "2"))
	if again[1] != want[1] {
		t.Errorf("after the cancellation: got %q, want %q", again, want)
	}
}

func TestAJournalIsForOneInput(t *testing.T) {
	p := openPool(t, echo)
	j := openJournal(t, newPath(t))
	lines(j.Stream(t.Context(), p, texts("1")), all)
	if got, want := lines(j.Stream(t.Context(), p, texts("2")), all), []string{"end: " + joblog.ErrUsed.Error()}; !slices.Equal(got, want) {
		t.Errorf("a second input: got %q, want %q", got, want)
	}
	j = openJournal(t, newPath(t))
	closeJournal(t, j)
	if got, want := lines(j.Unordered(t.Context(), p, texts("1")), all), []string{"end: " + joblog.ErrClosed.Error()}; !slices.Equal(got, want) {
		t.Errorf("after Close: got %q, want %q", got, want)
	}
}

func TestTheWorkerAndTheTimesOfAResultStay(t *testing.T) {
	path := newPath(t)
	p := openPool(t, echo)
	collect := func() (all []host.Result[json.RawMessage]) {
		j := openJournal(t, path)
		defer j.Close()
		for r, err := range j.Stream(t.Context(), p, texts("1", `"f"`)) {
			if err != nil {
				t.Fatal(err)
			}
			r.Wait, r.Run = r.Wait.Truncate(time.Microsecond), r.Run.Truncate(time.Microsecond)
			all = append(all, r)
		}
		return all
	}
	first := collect()
	if diff := cmp.Diff(first, collect()); diff != "" || first[0].Worker == 0 || first[0].PID == 0 {
		t.Errorf("results (-first +resumed):\n%s\nfirst: %+v", diff, first)
	}
}

// A result whose record could not be read back stays in memory, however much is waiting there, and the run goes on.
func TestWhatCannotBeReadBackWaitsInMemory(t *testing.T) {
	large := json.RawMessage(`"` + strings.Repeat("x", joblog.HeldBytes/4-len(`""`)) + `"`) // four such results are all that may wait in memory
	backwards := func(_ context.Context, _ *host.Pool, items iter.Seq[json.RawMessage]) results {
		return func(yield func(host.Result[json.RawMessage], error) bool) {
			n := 0
			for range items {
				n++
			}
			for n--; n >= 0; n-- {
				r := host.Result[json.RawMessage]{Index: n, Attempts: 1, Value: large}
				switch n {
				case 1:
					r.Value, r.Err = nil, &host.ItemError{Kind: host.KindCrashed, Message: "m", Cause: "unheard of", Attempts: 1}
				case 2:
					r.Value, r.Err = nil, &host.ItemError{Kind: "unheard of", Message: "m", Attempts: 1}
				case 3:
					r.Value = json.RawMessage("no JSON")
				}
				if !yield(r, nil) {
					return
				}
			}
		}
	}
	j := openJournal(t, newPath(t), func(c *joblog.Config) { c.Run = backwards })
	n := 0
	for r, err := range j.Stream(t.Context(), openPool(t, echo), numbers(10)) {
		if err != nil {
			t.Fatalf("after %d results: %v", n, err)
		}
		if n++; (r.Err != nil) != (r.Index == 1 || r.Index == 2) {
			t.Errorf("item %d: got error %v", r.Index, r.Err)
		}
	}
	if n != 10 {
		t.Errorf("got %d results, want 10", n)
	}
}
