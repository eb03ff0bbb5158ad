package host

import (
	"context"
	"iter"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parhost/parhost/host/internal/worker"
	"github.com/parhost/parhost/internal/inprocess"
	"github.com/parhost/parhost/sdk"
)

// What a batch costs a simulated process beside its items, and how long a message takes, there or back.
const (
	batchPrice = 100 * time.Microsecond
	messageLag = 50 * time.Microsecond
)

// pass takes as many nanoseconds as its item says.
var pass = sdk.Func("pass", func(_ context.Context, ns int64) (int64, error) {
	time.Sleep(time.Duration(ns))
	return ns, nil
})

// simulated is a worker process on a fake clock, which a real one cannot have. Its items run on a goroutine worker, from columns, in
// parts and under orders as they go to a process; batches run one by one in the order in which they came, and have their price.
type simulated struct {
	*goroutine
	running chan struct{} // held by the batch that runs
	log     *batchLog
}

func (s *simulated) Run(ctx context.Context, b worker.Batch) worker.End {
	s.log.enter(s.number)
	defer s.log.leave(s.number)
	time.Sleep(messageLag)
	s.running <- struct{}{} // those who wait get in as they came
	time.Sleep(batchPrice)
	from, begun := b.Done(), time.Now()
	end := s.goroutine.Run(ctx, b)
	s.log.add(b.First()+from, b.Done()-from, time.Since(begun))
	<-s.running
	time.Sleep(messageLag)
	return end
}

// batchLog is what the workers of a pool were given.
type batchLog struct {
	items []int64

	mu      sync.Mutex
	batches int
	longest time.Duration // that a batch had run when it began its last item
	inside  map[int]int   // batches in a worker, by its number
	most    int           // of these at once
}

func (l *batchLog) add(first, n int, ran time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.batches++
	l.longest = max(l.longest, ran-time.Duration(l.items[first+n-1]))
}

func (l *batchLog) enter(worker int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inside[worker]++
	l.most = max(l.most, l.inside[worker])
}

func (l *batchLog) leave(worker int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inside[worker]--
}

// Observe gets the batches of goroutine workers, which report a batch as a whole.
func (l *batchLog) Observe(e Event) {
	if b, ok := e.(BatchDone); ok {
		l.add(b.First, b.Items, b.Run)
	}
}

// simulation is a run on a fake clock.
type simulation struct {
	cfg   Config
	items []int64
	// pipe makes the items a stream whose end nobody sees before the last result is there; otherwise they are a slice.
	pipe bool
}

// run returns how long it took and what the workers were given. It fails the test if a result is missing, wrong or out of order.
func (s simulation) run(t *testing.T) (took time.Duration, log *batchLog) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		log = &batchLog{items: s.items, inside: map[int]int{}}
		p := s.open(t, log)
		begun := time.Now()
		var got []int64
		if s.pipe {
			got = s.drain(t, p)
		} else {
			var err error
			if got, err = BindJSON[int64, int64](p).Map(t.Context(), s.items); err != nil {
				t.Error(err)
			}
		}
		took = time.Since(begun)
		p.AwaitObserver()
		if !slices.Equal(got, s.items) {
			t.Errorf("%d items: the results are not theirs, or there are not as many: %d", len(s.items), len(got))
		}
	})
	return took, log
}

func (s simulation) drain(t *testing.T, p *Pool) []int64 {
	all := make(chan struct{})
	var items iter.Seq[int64] = func(yield func(int64) bool) {
		for _, v := range s.items {
			if !yield(v) {
				return
			}
		}
		<-all
	}
	got := make([]int64, 0, len(s.items))
	for r, err := range BindJSON[int64, int64](p).Stream(t.Context(), items) {
		if err != nil {
			t.Error(err)
			break
		}
		if got = append(got, r.Value); len(got) == len(s.items) {
			close(all)
		}
	}
	return got
}

// open makes the pool: of goroutines, or of simulated processes.
func (s simulation) open(t *testing.T, log *batchLog) *Pool {
	s.cfg.Workload = pass
	if s.cfg.Mode == ModeGoroutine {
		s.cfg.Observer = log
		p, err := Open(t.Context(), s.cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { p.Close() })
		return p
	}
	cfg, err := s.cfg.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := inprocess.Describe(pass, false)
	if err != nil {
		t.Fatal(err)
	}
	p := &Pool{cfg: cfg, scheduler: scheduler{limit: cfg.Workers}}
	p.scaler.width.Store(int64(cfg.Workers))
	p.describe(manifest)
	for number := range cfg.Workers {
		g, err := startGoroutine(t.Context(), number+1, &p.cfg, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		p.scheduler.add(&simulated{goroutine: g, running: make(chan struct{}, 1), log: log}, 0, time.Time{})
	}
	return p
}
