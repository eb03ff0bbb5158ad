//go:build unix

package host_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/host/sandbox"
	"github.com/parhost/parhost/sdk"
)

var (
	handle = sdk.Func("handle", handling)
	// placed says in which mapping of its process an item lies.
	placed = sdk.Func("placed", func(_ context.Context, xs []float64) (string, error) { return mappingOf(unsafe.SliceData(xs)) })
)

// handling does to its item what the item says.
func handling(_ context.Context, item []byte) (string, error) {
	what, path, _ := strings.Cut(string(item), " ")
	switch what {
	case "write":
		item[0] = 'W'
	case "copy":
		copy(item, "COPY")
	case "write-elsewhere": // where no panic can be caught
		var other sync.WaitGroup
		other.Go(func() { item[0] = 'W' })
		other.Wait()
	case "once": // dies the first time, by the file that it leaves
		if _, err := os.Stat(path); err != nil {
			touch(path)
			os.Exit(3)
		}
	case "wait":
		touch(path)
		for there := true; there; {
			time.Sleep(2 * time.Millisecond) // a file is no event
			_, err := os.Stat(path)
			there = err == nil
		}
		return fmt.Sprintf("%x", item), nil
	}
	return string(item), nil
}

// mappingOf returns the name of the mapping in which an address lies, and whether it can be written.
func mappingOf[T any](p *T) (string, error) {
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(maps)) {
		var from, to uintptr
		var access, offset, device, inode, name string
		if _, err := fmt.Sscanf(line, "%x-%x %s %s %s %s %s", &from, &to, &access, &offset, &device, &inode, &name); err != nil {
			continue // it has no name
		}
		if at := uintptr(unsafe.Pointer(p)); from <= at && at < to {
			return access + " " + name, nil
		}
	}
	return "none with a name", nil
}

// seen is what placed says of an item that a worker looks at where it lies.
const seen = "r--s /memfd:parhost-buffers"

func newBuffer[T host.Number](t testing.TB, p *host.Pool, n int) *host.Buffer[T] {
	t.Helper()
	b, err := host.NewBuffer[T](p, n)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Free)
	return b
}

// needBuffers skips the test where no memory can be shared.
func needBuffers(t testing.TB) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("no memory is shared on " + runtime.GOOS)
	}
}

func TestItemsInABufferRunLikeAnyOthers(t *testing.T) {
	pools(t, host.Config{Workload: total}, func(t *testing.T, p *host.Pool) {
		b := newBuffer[float64](t, p, 100_000)
		for i := range b.Slice {
			b.Slice[i] = float64(i)
		}
		own := slices.Clone(b.Slice)
		for name, items := range map[string][][]float64{
			"one":                            {b.Slice},
			"parts":                          slices.Collect(slices.Chunk(b.Slice, 1000)),
			"small parts":                    slices.Collect(slices.Chunk(b.Slice, 3)),
			"parts that overlap":             {b.Slice[:50_000], b.Slice[10_000:60_000], b.Slice[10_000:60_000], b.Slice[99_999:]},
			"in turns with the caller's own": {b.Slice[:1000], own[1000:2000], b.Slice[2000:3000], nil, own[3000:4000], own[:1], b.Slice[5:6], {}, b.Slice[4000:]},
			"none":                           {b.Slice[:0], nil},
		} {
			got, err := typed[[]float64, float64](p).Map(t.Context(), items)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			for i, x := range items {
				if want, _ := sum(t.Context(), x); got[i] != want {
					t.Errorf("%s: result %d of %d: got %v, want %v", name, i, len(items), got[i], want)
				}
			}
		}
		if got, err := value(typed[[]float64, float64](p).Do(t.Context(), b.Slice[:3])); err != nil || got != 3 {
			t.Errorf("Do of 0, 1, 2: got %v, %v, want 3", got, err)
		}
	})
}

func TestValuesOfEveryKindLieInBuffers(t *testing.T) {
	pools(t, host.Config{Workload: echoBytes}, func(t *testing.T, p *host.Pool) {
		b := newBuffer[byte](t, p, 100_000)
		for i := range b.Slice {
			b.Slice[i] = byte(rand.Uint32())
		}
		items := [][]byte{b.Slice[1:], b.Slice[3:9001], b.Slice[5:5], b.Slice[7:8], b.Slice[50_001:99_999]}
		if got, err := typed[[]byte, []byte](p).Map(t.Context(), items); err != nil || !slices.EqualFunc(got, items, bytes.Equal) {
			t.Errorf("bytes: got other items, or %v", err)
		}
	})
	pools(t, host.Config{Workload: echoFloats}, func(t *testing.T, p *host.Pool) {
		type celsius float64
		b := newBuffer[celsius](t, p, 10_000)
		for i := range b.Slice {
			b.Slice[i] = celsius(i) / 3
		}
		got, err := typed[[]celsius, []float64](p).Map(t.Context(), [][]celsius{b.Slice, b.Slice[1:5000]})
		if err != nil || len(got[0]) != 10_000 || got[0][9999] != 3333 || len(got[1]) != 4999 || got[1][0] != 1/3. {
			t.Errorf("a type of the caller's own: got %d results, %v", len(got), err)
		}
		texts, err := typed[[]int32, []float64](p).Map(t.Context(), [][]int32{newBuffer[int32](t, p, 5000).Slice})
		if err != nil || len(texts[0]) != 5000 {
			t.Errorf("another kind than the workload's: got %v", err)
		}
	})
}

// Where a worker finds its item is the whole point.
func TestWorkersLookAtItemsWhereTheyLie(t *testing.T) {
	needBuffers(t)
	p, other := open(t, host.Config{Workload: placed}), open(t, host.Config{Workload: placed})
	b := newBuffer[float64](t, p, 10_000)
	own := make([]float64, 1000)
	items := [][]float64{b.Slice[:1000], own, b.Slice[9000:], own, own, b.Slice[:10], b.Slice[1000:2000], b.Slice[5:6]}
	for name, c := range map[string]struct {
		pool *host.Pool
		want []bool
	}{
		"its own":      {p, []bool{true, false, true, false, false, true, true, true}},
		"another pool": {other, make([]bool, len(items))},
	} {
		// One after the other, and together: a batch with items of both sorts is cut where they meet.
		got, err := typed[[]float64, string](c.pool).Map(t.Context(), items)
		if err != nil {
			t.Fatal(err)
		}
		for i, where := range got {
			if i == 5 || i == 7 { // so small that it goes with what comes before or behind it
				continue
			}
			if (where == seen) != c.want[i] {
				t.Errorf("%s: item %d lies in %q, want %v that it is where it was built", name, i, where, c.want[i])
			}
		}
	}
	inline := open(t, host.Config{Workload: placed, Inline: true})
	got, err := value(typed[[]float64, string](inline).Do(t.Context(), newBuffer[float64](t, inline, 1000).Slice))
	if err != nil || strings.Contains(got, "memfd") {
		t.Errorf("with Config.Inline: got %q, %v, want no shared memory", got, err)
	}
}

func TestBatchesOfBothSortsAreCutWhereTheyMeet(t *testing.T) {
	needBuffers(t)
	p := open(t, host.Config{Workload: placed, Batch: 6, Workers: 1})
	b := newBuffer[float64](t, p, 10_000)
	large, small, own := b.Slice[:1000], b.Slice[:2], make([]float64, 1000)
	items := [][]float64{large, small, nil, own, small, large}
	got, err := typed[[]float64, string](p).Map(t.Context(), items)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []bool{true, true, false, false, false, true} { // nil lies nowhere
		if (got[i] == seen) != want {
			t.Errorf("item %d lies in %q, want %v that it is where it was built", i, got[i], want)
		}
	}
}

func TestAnItemInABufferIsBoundLikeAnyOther(t *testing.T) {
	needBuffers(t)
	p := open(t, host.Config{Workload: total, MaxItemBytes: 80_000})
	b := newBuffer[float64](t, p, 10_001)
	got, err := typed[[]float64, float64](p).Map(t.Context(), [][]float64{b.Slice[1:], b.Slice, b.Slice[:10_000]})
	errs := mapErrors(t, "Map", err)
	if len(errs) != 1 || errs[1] == nil || errs[1].Kind != host.KindOversize || errs[1].Size != 80_008 || got[2] != 0 {
		t.Errorf("got %v, want item 1 of 80008 bytes oversize", errs)
	}
}

func TestAWorkerThatWritesToItsItemIsToldSo(t *testing.T) {
	needBuffers(t)
	for do, c := range map[string]struct {
		kind host.Kind
		says string
	}{
		"write":           {host.KindPanicked, "wrote to its item, which lies in memory that it can only read"},
		"copy":            {host.KindPanicked, "wrote to its item, which lies in memory that it can only read"},
		"write-elsewhere": {host.KindCrashed, "its item lay in a buffer, which workers can only read"},
	} {
		t.Run(do, func(t *testing.T) {
			p := open(t, host.Config{Workload: handle, Batch: 10, Workers: 1})
			b := newBuffer[byte](t, p, 10*8192)
			items := slices.Collect(slices.Chunk(b.Slice, 8192))
			for i, item := range items {
				copy(item, fmt.Sprint("leave ", i, " alone"))
			}
			items[4] = items[4][:copy(items[4], do)]
			before := bytes.Clone(b.Slice)
			got, err := typed[[]byte, string](p).Map(t.Context(), items)
			errs := mapErrors(t, "Map", err)
			if len(errs) != 1 || errs[4] == nil || errs[4].Kind != c.kind || !strings.Contains(errs[4].Message, c.says) {
				t.Errorf("got %v, want item 4 %s with %q", errs, c.kind, c.says)
			}
			for i, s := range got {
				if i != 4 && s != string(items[i]) {
					t.Errorf("item %d has another result than itself", i)
				}
			}
			if !bytes.Equal(b.Slice, before) {
				t.Error("the buffer has changed")
			}
		})
	}
}

func TestAnItemInABufferIsTriedAgainAfterACrash(t *testing.T) {
	pools := map[string]host.Config{"shared": {}, "inline": {Inline: true}}
	for name, cfg := range pools {
		t.Run(name, func(t *testing.T) {
			cfg.Workload, cfg.Retries, cfg.RetryAlways, cfg.Batch = handle, 1, true, 5
			p := open(t, cfg)
			b := newBuffer[byte](t, p, 20*8192)
			items := slices.Collect(slices.Chunk(b.Slice, 8192))
			for i, item := range items {
				copy(item, fmt.Sprint("leave ", i, " alone"))
			}
			items[7] = items[7][:copy(items[7], "once "+t.TempDir()+"/died")]
			got, err := typed[[]byte, string](p).Map(t.Context(), items)
			if err != nil {
				t.Fatal(err)
			}
			for i := range got {
				if got[i] != string(items[i]) {
					t.Errorf("item %d has another result than itself", i)
				}
			}
		})
	}
}

// The caller may write to an item again once its result is there.
func TestABufferIsUsedAgainAndAgain(t *testing.T) {
	pools(t, host.Config{Workload: total}, func(t *testing.T, p *host.Pool) {
		const length, turns = 2000, 300
		b := newBuffer[float64](t, p, 4*length)
		free := make(chan []float64, 4)
		for part := range slices.Chunk(b.Slice, length) {
			free <- part
		}
		held := map[int][]float64{}
		var mu sync.Mutex
		items := func(yield func([]float64) bool) {
			for i := range turns {
				part := <-free
				for k := range part {
					part[k] = float64(i)
				}
				mu.Lock()
				held[i] = part
				mu.Unlock()
				if !yield(part) {
					return
				}
			}
		}
		for r, err := range typed[[]float64, float64](p).Stream(t.Context(), items) {
			if err != nil || r.Err != nil {
				t.Fatal(err, r.Err)
			}
			if want := float64(r.Index * length); r.Value != want {
				t.Fatalf("result %d: got %v, want %v", r.Index, r.Value, want)
			}
			mu.Lock()
			free <- held[r.Index]
			mu.Unlock()
		}
	})
}

func TestABufferBeginsWithZeros(t *testing.T) {
	pools(t, host.Config{Workload: total}, func(t *testing.T, p *host.Pool) {
		for n := range 20 {
			b, err := host.NewBuffer[int16](p, 1000*(n%5))
			if err != nil || b.Slice == nil || len(b.Slice) != 1000*(n%5) || cap(b.Slice) != len(b.Slice) {
				t.Fatalf("buffer of %d values: got %d, %v", 1000*(n%5), len(b.Slice), err)
			}
			for i := range b.Slice {
				if b.Slice[i] != 0 {
					t.Fatalf("value %d: got %d, want 0", i, b.Slice[i])
				}
				b.Slice[i] = -1
			}
			b.Free()
			if b.Slice != nil {
				t.Error("after Free: got a slice, want nil")
			}
			b.Free()
		}
	})
}

func TestBuffersAreLimited(t *testing.T) {
	pools(t, host.Config{Workload: total, BufferBytes: 1 << 20}, func(t *testing.T, p *host.Pool) {
		all, err := host.NewBuffer[float64](p, 1<<17)
		if err != nil {
			t.Fatalf("a buffer as large as the limit: %v", err)
		}
		_, err = host.NewBuffer[byte](p, 1)
		if !errors.Is(err, host.ErrNoRoom) || !strings.Contains(err.Error(), "1048576 bytes are taken, the limit is 1048576 (Config.BufferBytes)") {
			t.Errorf("a byte more than the limit: got %v, want ErrNoRoom with the limit", err)
		}
		all.Free()
		again := newBuffer[byte](t, p, 1<<20)
		if got, err := value(typed[[]float64, float64](p).Do(t.Context(), []float64{1, 2})); err != nil || got != 3 || len(again.Slice) != 1<<20 {
			t.Errorf("the pool afterwards: got %v, %v", got, err)
		}
		for _, n := range []int{-1, math.MaxInt/2 + 1} {
			if _, err := host.NewBuffer[float64](p, n); err == nil || errors.Is(err, host.ErrNoRoom) {
				t.Errorf("a buffer of %d values: got %v, want another error", n, err)
			}
		}
		if _, err := host.NewBuffer[byte](p, min(1<<40, math.MaxInt)); !errors.Is(err, host.ErrNoRoom) {
			t.Errorf("a buffer of a TiB: got %v, want ErrNoRoom", err)
		}
	})
	if _, err := host.Open(t.Context(), host.Config{Workload: total, BufferBytes: -1}); err == nil || !strings.Contains(err.Error(), "Config.BufferBytes") {
		t.Errorf("a negative limit: got %v, want a ConfigError", err)
	}
}

// What a worker makes of its pool's buffers by looking where nothing is yet stays when it is gone. So its limit is theirs.
func TestBuffersAreNoMoreThanAWorkersMemory(t *testing.T) {
	cfg := host.Config{Workload: total, Workers: 1}
	cfg.Sandbox.MemoryBytes = 256 << 20
	p, err := host.Open(t.Context(), cfg)
	if errors.Is(err, sandbox.ErrNotSupported) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if _, err := host.NewBuffer[byte](p, 256<<20+1); !errors.Is(err, host.ErrNoRoom) || !strings.Contains(err.Error(), "the limit is 268435456 (Config.BufferBytes)") {
		t.Errorf("a byte more than the limit: got %v, want ErrNoRoom with the limit", err)
	}
}

func TestABufferOutlivesItsPool(t *testing.T) {
	pools(t, host.Config{Workload: total}, func(t *testing.T, p *host.Pool) {
		b, c := newBuffer[float64](t, p, 10_000), newBuffer[float64](t, p, 10_000)
		b.Slice[9999] = 7
		if err := p.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		if b.Slice[9999] != 7 {
			t.Errorf("after Shutdown: got %v, want 7", b.Slice[9999])
		}
		if _, err := host.NewBuffer[float64](p, 1); !errors.Is(err, host.ErrClosed) {
			t.Errorf("NewBuffer after Shutdown: got %v, want ErrClosed", err)
		}
		mapping, err := mappingOf(&b.Slice[0])
		if err != nil && runtime.GOOS == "linux" {
			t.Fatal(err)
		}
		shared := strings.Contains(mapping, "parhost-buffers")
		if want := runtime.GOOS == "linux" && strings.HasSuffix(t.Name(), "process"); shared != want {
			t.Errorf("the buffer lies in %q, want %v that this is shared memory", mapping, want)
		}
		kept := b.Slice
		b.Free()
		if kept[5000] != 0 && !shared {
			t.Error("one freed: the memory has changed")
		}
		c.Slice[0] = 8 // the other is still there
		c.Free()
		if got, err := mappingOf(&kept[0]); err != nil || strings.Contains(got, "parhost-buffers") {
			t.Errorf("all freed: the memory lies in %q, %v, want it gone", got, err)
		}
		kept[0]++ // against the rules, and no fault
	})
}

// Whoever frees an item that runs gets a wrong result at worst.
func TestFreeWhileAnItemRunsHurtsNobodyElse(t *testing.T) {
	pools(t, host.Config{Workload: handle}, func(t *testing.T, p *host.Pool) {
		path := t.TempDir() + "/waits"
		b := newBuffer[byte](t, p, 1<<20)
		copy(b.Slice, "wait "+path)
		h := typed[[]byte, string](p).Start(t.Context(), b.Slice[:len("wait ")+len(path)])
		waitFile(t, path)
		b.Free()
		again := newBuffer[byte](t, p, 1<<20)
		for i := range again.Slice {
			again.Slice[i] = 0xff
		}
		other := typed[[]byte, string](p).Start(t.Context(), []byte("somebody else's"))
		removeWhenThere(t, path)
		if got, err := value(other.Wait(t.Context())); err != nil || got != "somebody else's" {
			t.Errorf("another item meanwhile: got %q, %v", got, err)
		}
		if got, err := value(h.Wait(t.Context())); err != nil || len(got) != 2*(len("wait ")+len(path)) {
			t.Errorf("the item: got %q, %v, want any result", got, err)
		}
	})
}

func TestBuffersDoNotCountAsTheWorkersMemory(t *testing.T) {
	needBuffers(t)
	const size = 256 << 20
	p := open(t, host.Config{Workload: total, Workers: 1, MaxItemBytes: size, BufferBytes: size})
	b := newBuffer[float64](t, p, size/8)
	if _, err := value(typed[[]float64, float64](p).Do(t.Context(), b.Slice)); err != nil {
		t.Fatal(err)
	}
	if rss := p.Workers()[0].RSS; rss <= 0 || rss > size/2 {
		t.Errorf("a worker that has looked at %d bytes of a buffer: got %d resident bytes of its own", size, rss)
	}
}

func TestManyMakeBuffersAtOnce(t *testing.T) {
	pools(t, host.Config{Workload: total, Workers: 3, BufferBytes: 8 << 20}, func(t *testing.T, p *host.Pool) {
		var hands sync.WaitGroup
		for range 6 {
			hands.Go(func() {
				for range 20 {
					b, err := host.NewBuffer[float64](p, 1+rand.IntN(100_000))
					if err != nil {
						t.Error(err)
						return
					}
					for i := range b.Slice {
						b.Slice[i] = 1
					}
					items := slices.Collect(slices.Chunk(b.Slice, 1+rand.IntN(5000)))
					got, err := typed[[]float64, float64](p).Map(t.Context(), items)
					if err != nil {
						t.Error(err)
					}
					for i := range got {
						if got[i] != float64(len(items[i])) {
							t.Errorf("the sum of %d ones: got %v", len(items[i]), got[i])
						}
					}
					b.Free()
				}
			})
		}
		hands.Wait()
	})
}
