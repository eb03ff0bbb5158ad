//go:build linux

package host_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/host/sandbox"
	"github.com/parhost/parhost/internal/arena"
	"github.com/parhost/parhost/internal/wire"
	"github.com/parhost/parhost/internal/wire/workerpb"
)

func init() { maps.Copy(fakes, arenaFakes) }

// arenaFakes are plugins that break their promises about the memory that they share with their host. Items are bytes, the first eight
// of which are a number; so are their results, or that number.
var arenaFakes = map[string]func(){
	"room: past its end":   roomLie(func(b *workerpb.Batch, r *workerpb.Results) { r.RoomAt, r.RoomUsed = b.GetRoomSize()-8, 16 }),
	"room: behind its end": roomLie(func(b *workerpb.Batch, r *workerpb.Results) { r.RoomAt, r.RoomUsed = b.GetRoomSize()+1, 8 }),
	"room: wraps":          roomLie(func(_ *workerpb.Batch, r *workerpb.Results) { r.RoomAt, r.RoomUsed = 1<<64-8, 16 }),
	"room: huge":           roomLie(func(_ *workerpb.Batch, r *workerpb.Results) { r.RoomUsed = 1<<64 - 1 }),
	"room: cut short":      roomLie(func(_ *workerpb.Batch, r *workerpb.Results) { r.RoomUsed = 1 }),
	"room: the same twice": inArena("bytes", func(s stream, w *armed, b *workerpb.Batch) error {
		return w.inParts(s, b, 0, func(uint64) uint64 { return 0 })
	}),
	"room: overlapping": inArena("bytes", func(s stream, w *armed, b *workerpb.Batch) error {
		return w.inParts(s, b, 0, func(end uint64) uint64 { return end - 8 })
	}),
	"room: backwards": inArena("bytes", func(s stream, w *armed, b *workerpb.Batch) error {
		return w.inParts(s, b, 4096, func(uint64) uint64 { return 0 })
	}),
	"scribbles, bytes":   inArena("bytes", scribble),
	"scribbles, float64": inArena("float64", scribble),
	"never answers": inArena("bytes", func(s stream, w *armed, b *workerpb.Batch) error {
		if w.honest() {
			return s.Send(results(w.results(b, 0, int(b.GetCount()), 0)))
		}
		return nil
	}),
	"never ends": inArena("bytes", func(s stream, w *armed, b *workerpb.Batch) error {
		r := w.results(b, 0, int(b.GetCount()), 0)
		if !w.honest() && b.GetCount() > 1 {
			r = w.results(b, 0, int(b.GetCount())-1, 0)
			r.Last = false
		} else if !w.honest() {
			return nil
		}
		return s.Send(results(r))
	}),
	"fills its arena": inArena("bytes", func(s stream, w *armed, b *workerpb.Batch) error {
		r := w.results(b, 0, int(b.GetCount()), 0)
		if !w.honest() {
			w.scratch.Do(w.fill)
		}
		return s.Send(results(r))
	}),
	"fills its room": inArena("bytes", func(s stream, w *armed, b *workerpb.Batch) error {
		room, err := w.arena.Bytes(b.GetRoomOffset(), b.GetRoomSize())
		if err != nil {
			return err
		}
		room = room[:min(uint64(len(room)), b.GetCredit())]
		clear(room[:8])
		binary.LittleEndian.PutUint32(room, uint32(len(room)-8)) // one value that takes all the rest
		return s.Send(results(&workerpb.Results{Batch: b.GetId(), Count: 1, RoomUsed: uint64(len(room)), Last: true}))
	}),
	"attacks the buffers": func() {
		fakeServe(&liar{
			manifest: &workerpb.Manifest{Name: "liar", ItemKind: "bytes", ResultKind: "string"},
			work: func(s stream) error {
				if err := s.Send(&workerpb.WorkResponse{Message: &workerpb.WorkResponse_Ready{Ready: &workerpb.Ready{Buffers: true}}}); err != nil {
					return err
				}
				return converse(s, func(s stream, b *workerpb.Batch) error {
					report := attack(b.GetBufferAt())
					return s.Send(results(&workerpb.Results{Batch: b.GetId(), Count: 1, Values: column([]byte(report)), Last: true}))
				})
			},
		})
	},
}

// armed is a worker that has mapped its arena.
type armed struct {
	number  uint32
	arena   *arena.Arena
	floats  bool // its results are numbers
	scratch sync.Once
	rooms   [4]atomic.Pointer[[]byte] // given last
	batches int
}

// honest reports whether this is one of the pool's workers that keep their promises: every second one does.
func (w *armed) honest() bool { return w.number%2 == 0 }

// inArena is a plugin that maps its arena and answers each batch in its way.
func inArena(resultKind string, answer func(s stream, w *armed, b *workerpb.Batch) error) func() {
	return func() {
		fakeServe(&liar{
			manifest: &workerpb.Manifest{Name: "liar", ItemKind: "bytes", ResultKind: resultKind},
			work: func(s stream) error {
				fd, err := strconv.Atoi(os.Getenv(wire.EnvArena))
				if err != nil {
					return err
				}
				a, err := arena.Map(fd)
				if err != nil {
					return err
				}
				start, err := s.Recv()
				if err != nil {
					return err
				}
				w := &armed{number: start.GetStart().GetWorker(), arena: a, floats: resultKind == "float64"}
				if err := s.Send(&workerpb.WorkResponse{Message: &workerpb.WorkResponse_Ready{Ready: &workerpb.Ready{Arena: true}}}); err != nil {
					return err
				}
				return converse(s, func(s stream, b *workerpb.Batch) error { return answer(s, w, b) })
			},
		})
	}
}

// converse answers batches until the stream ends.
func converse(s stream, answer func(stream, *workerpb.Batch) error) error {
	for {
		req, err := s.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if b := req.GetBatch(); b != nil {
			if err := answer(s, b); err != nil {
				return err
			}
		}
	}
}

func column(values ...[]byte) []byte {
	var w wire.ColumnWriter
	for _, v := range values {
		w.End(append(w.Begin(), v...))
	}
	return w.Bytes()
}

// results returns the right results of n items of a batch, in its room from a place on, if it has one.
func (w *armed) results(b *workerpb.Batch, from, n int, at uint64) *workerpb.Results {
	items := b.GetItems()
	if b.GetItemsSize() > 0 {
		var err error
		if items, err = w.arena.Bytes(b.GetItemsOffset(), b.GetItemsSize()); err != nil {
			panic(err)
		}
	}
	c, err := wire.OpenColumn(bytes.Clone(items), int(b.GetCount()), false)
	r := &workerpb.Results{Batch: b.GetId(), From: uint32(from), Count: uint32(n), Last: true}
	var values [][]byte
	for i := range from + n {
		number := make([]byte, 8) // for a liar that has spoilt its own items
		if err == nil {
			number = c.Next()[:8]
		}
		if w.floats {
			number = binary.LittleEndian.AppendUint64(nil, floatBits(number))
		}
		if i >= from {
			values = append(values, number)
		}
	}
	packed := column(values...)
	if w.floats {
		packed = bytes.Join(values, nil)
	}
	if b.GetRoomSize() == 0 {
		r.Values = packed
		return r
	}
	room, err := w.arena.Bytes(b.GetRoomOffset(), b.GetRoomSize())
	if err != nil {
		panic(err)
	}
	r.RoomAt, r.RoomUsed = at, uint64(copy(room[at:], packed))
	return r
}

func floatBits(number []byte) uint64 {
	f := float64(binary.LittleEndian.Uint64(number))
	return *(*uint64)(unsafe.Pointer(&f))
}

// roomLie is a plugin that says something untrue of its room.
func roomLie(lie func(*workerpb.Batch, *workerpb.Results)) func() {
	return inArena("bytes", func(s stream, w *armed, b *workerpb.Batch) error {
		r := w.results(b, 0, int(b.GetCount()), 0)
		lie(b, r)
		return s.Send(results(r))
	})
}

// inParts answers a batch of two in two parts: the first at a place of the room, the second where next says, given the end of the first.
func (w *armed) inParts(s stream, b *workerpb.Batch, at uint64, next func(end uint64) uint64) error {
	if b.GetCount() != 2 {
		return s.Send(results(w.results(b, 0, int(b.GetCount()), 0)))
	}
	first := w.results(b, 0, 1, at)
	first.Last = false
	if err := s.Send(results(first)); err != nil {
		return err
	}
	return s.Send(results(w.results(b, 1, 1, next(first.GetRoomAt()+first.GetRoomUsed()))))
}

// scribble answers as it should, while other threads write wherever they can: the black box, the items of batches that wait, results that
// the host is just reading. Now and then it dies, so that the host looks at the black box.
func scribble(s stream, w *armed, b *workerpb.Batch) error {
	r := w.results(b, 0, int(b.GetCount()), 0)
	if w.honest() {
		time.Sleep(time.Millisecond) // of work: the liar is to get its share
		return s.Send(results(r))
	}
	if room, err := w.arena.Bytes(b.GetRoomOffset(), b.GetRoomSize()); err == nil && len(room) > 0 {
		w.rooms[b.GetId()%uint64(len(w.rooms))].Store(&room)
	}
	w.scratch.Do(func() {
		runtime.GOMAXPROCS(3)
		go w.scratchAnywhere()
		go w.scratchTables()
	})
	if err := s.Send(results(r)); err != nil {
		return err
	}
	if w.batches++; w.batches == 3 {
		os.Exit(3)
	}
	return nil
}

// fill touches half a GiB, from behind where the host's slots lie.
func (w *armed) fill() {
	const from, size = 64 << 20, 512 << 20
	memory, err := w.arena.Bytes(from, size)
	if err != nil {
		panic(err)
	}
	for i := 0; i < len(memory); i += os.Getpagesize() {
		memory[i] = 1
	}
}

func (w *armed) scratchAnywhere() {
	const most = 8 << 20 // where the host's slots lie
	slots, err := w.arena.Bytes(arena.DataOffset, most)
	if err != nil {
		panic(err)
	}
	for tick := time.NewTicker(100 * time.Microsecond); ; <-tick.C { // it has to answer too
		for thread := range 4 {
			w.arena.Entry(thread).Begin(rand.Uint64N(20))
			w.arena.Entry(thread).Place().Item.Store(rand.Uint64() >> rand.IntN(64))
		}
		for range 1000 {
			slots[rand.IntN(len(slots))] = byte(rand.Uint32())
		}
	}
}

// scratchTables changes the lengths of results back and forth between what they are and what cannot be.
func (w *armed) scratchTables() {
	for {
		for i := range w.rooms {
			if room := w.rooms[i].Load(); room != nil {
				for _, length := range []uint32{1<<32 - 1, 8, 0, rand.Uint32(), 8} {
					binary.LittleEndian.PutUint32(*room, length)
				}
			}
		}
	}
}

// numbered are items large enough to go through the arena.
func numbered(n int) [][]byte {
	items := make([][]byte, n)
	for i := range items {
		items[i] = make([]byte, 5000)
		binary.LittleEndian.PutUint64(items[i], uint64(i))
	}
	return items
}

func TestALieAboutTheRoomCostsTheWorker(t *testing.T) {
	for name, c := range map[string]struct {
		blamed []int
		says   string
	}{
		"room: past its end":   {[]int{0, 1, 2, 3}, "results of 16 bytes at"},
		"room: behind its end": {[]int{0, 1, 2, 3}, "results of 8 bytes at"},
		"room: wraps":          {[]int{0, 1, 2, 3}, "results of 16 bytes at 18446744073709551608 of a room of"},
		"room: huge":           {[]int{0, 1, 2, 3}, "results of 18446744073709551615 bytes at 0 of a room of"},
		"room: cut short":      {[]int{0, 1, 2, 3}, "needs a table of"},
		"room: the same twice": {[]int{1, 3}, "of which 16 have been read"},
		"room: overlapping":    {[]int{1, 3}, "at 8 of a room of"},
		"room: backwards":      {[]int{1, 3}, "of which 4112 have been read"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			atLevels(t, allLevels, func(t *testing.T, policy sandbox.Policy) {
				cfg := fake(t, name)
				cfg.Batch, cfg.Window, cfg.Sandbox = 2, 1, policy
				p := open(t, cfg)
				got, err := typed[[]byte, []byte](p).Map(t.Context(), numbered(4))
				errs := mapErrors(t, "Map", err)
				if !slices.Equal(indexes(errs), c.blamed) {
					t.Fatalf("blamed items: got %v, want %v", errs, c.blamed)
				}
				for i, e := range errs {
					if e.Kind != host.KindCrashed || !strings.Contains(e.Message, "broke the protocol") || !strings.Contains(e.Message, c.says) {
						t.Errorf("item %d: got %v, want crashed with %q", i, e, c.says)
					}
				}
				for i, r := range got {
					if errs[i] == nil && len(r) != 8 { // which it may have written over
						t.Errorf("item %d: got %x", i, r)
					}
				}
			})
		})
	}
}

// checkHonest ranges over a run on a pool whose second worker alone is honest: what that one says is right, whatever the first one does,
// every item has one outcome, and nobody but the first one is blamed. It returns the errors.
func checkHonest[Out any](t *testing.T, p *host.Pool, items [][]byte, right func(i int, v Out) bool) map[int]*host.ItemError {
	t.Helper()
	errs := map[int]*host.ItemError{}
	honest, next := 0, 0
	for r, err := range typed[[]byte, Out](p).Stream(t.Context(), slices.Values(items)) {
		if err != nil {
			t.Fatal(err)
		}
		if r.Index != next {
			t.Fatalf("got item %d, want %d", r.Index, next)
		}
		next++
		switch {
		case r.Err != nil && r.Worker == 2:
			t.Errorf("item %d of the honest worker: got %v", r.Index, r.Err)
		case r.Err != nil:
			errs[r.Index] = r.Err
		case r.Worker == 2:
			honest++
			if !right(r.Index, r.Value) {
				t.Errorf("item %d of the honest worker: got %v", r.Index, r.Value)
			}
		}
	}
	if next != len(items) || honest == 0 {
		t.Errorf("got %d results of %d items, %d of them from the honest worker", next, len(items), honest)
	}
	return errs
}

func rightBytes(i int, v []byte) bool {
	return bytes.Equal(v, binary.LittleEndian.AppendUint64(nil, uint64(i)))
}

// scribbled is so many items that the liar's place is filled again before the honest worker has run them all.
const scribbled = 4000

// A worker that writes all over its arena spoils its own results, and those of nobody else.
func TestAWorkerThatScribblesSpoilsItsOwnItemsAlone(t *testing.T) {
	for _, kind := range []string{"bytes", "float64"} {
		t.Run(kind, func(t *testing.T) {
			atLevels(t, allLevels, func(t *testing.T, policy sandbox.Policy) {
				cfg := fake(t, "scribbles, "+kind)
				events := new(recorder)
				cfg.Workers, cfg.Batch, cfg.Observer, cfg.Sandbox = 2, 4, events, policy
				p := open(t, cfg)
				within(t, "a run", 60*time.Second, func() {
					var errs map[int]*host.ItemError
					if kind == "bytes" {
						errs = checkHonest(t, p, numbered(scribbled), rightBytes)
					} else {
						errs = checkHonest(t, p, numbered(scribbled), func(i int, v float64) bool { return v == float64(i) })
					}
					for i, e := range errs {
						if e.Kind != host.KindCrashed {
							t.Errorf("item %d: got %v, want crashed", i, e)
						}
					}
				})
				if n := mappings(t, "parhost-arena"); n > 2 {
					t.Errorf("got %d arenas, want those of 2 workers", n)
				}
				within(t, "Close", 5*time.Second, func() { p.Close() })
				if n := mappings(t, "parhost-arena"); n > 0 {
					t.Errorf("after Close: got %d arenas, want none", n)
				}
				deaths := map[string]int{}
				for _, e := range ofKind[host.WorkerEnded](events) {
					if e.Worker == 1 {
						deaths[e.Reason]++
					} else if e.Reason != "closed" {
						t.Errorf("worker %d ended: %s", e.Worker, e.Reason)
					}
				}
				if deaths["process ended with exit code 3"] == 0 {
					t.Error("the liar has come through")
				}
				t.Logf("how it ended: %v", deaths)
			})
		})
	}
}

// mappings counts those of this process that have a name.
func mappings(t *testing.T, name string) int {
	t.Helper()
	text, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(text), "memfd:"+name)
}

func TestAWorkerThatNeverAnswersHoldsItsOwnItemsAlone(t *testing.T) {
	for _, name := range []string{"never answers", "never ends"} {
		t.Run(name+", with a limit", func(t *testing.T) {
			t.Parallel()
			atLevelsTogether(t, func(t *testing.T, policy sandbox.Policy) {
				cfg := fake(t, name)
				cfg.Workers, cfg.Batch, cfg.Window, cfg.ItemTimeout, cfg.Sandbox = 2, 1, 1, 200*time.Millisecond, policy
				if name == "never ends" {
					cfg.Batch = 2 // one item has its outcome, and one has not
				}
				p := open(t, cfg)
				within(t, "a run", 30*time.Second, func() {
					errs := checkHonest(t, p, numbered(40), rightBytes)
					if len(errs) == 0 {
						t.Error("nobody was blamed")
					}
					for i, e := range errs {
						if e.Kind != host.KindTimeout || !strings.Contains(e.Message, "worker has been silent for") {
							t.Errorf("item %d: got %v, want a timeout for silence", i, e)
						}
					}
				})
			})
		})
		t.Run(name+", without one", func(t *testing.T) {
			t.Parallel()
			atLevelsTogether(t, func(t *testing.T, policy sandbox.Policy) {
				cfg := fake(t, name)
				cfg.Workers, cfg.Batch, cfg.Sandbox = 2, 2, policy
				p := open(t, cfg)
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				within(t, "Map with a deadline", 5*time.Second, func() {
					if _, err := typed[[]byte, []byte](p).Map(ctx, numbered(100)); !errors.Is(err, context.DeadlineExceeded) {
						t.Errorf("Map: got %v, want a deadline error", err)
					}
				})
				h := typed[[]byte, []byte](p).Start(t.Context(), numbered(1)[0]) // perhaps on the one that never answers
				within(t, "Close", 5*time.Second, func() { p.Close() })
				<-h.Done()
			})
		})
	}
}

// A plugin that is not made with the SDK may try what it likes.
func TestWorkersCannotWriteToBuffers(t *testing.T) {
	atLevels(t, allLevels, cannotWriteToBuffers)
}

func cannotWriteToBuffers(t *testing.T, policy sandbox.Policy) {
	cfg := fake(t, "attacks the buffers")
	cfg.Sandbox = policy
	p := open(t, cfg)
	b := newBuffer[byte](t, p, 1<<20)
	for i := range b.Slice {
		b.Slice[i] = byte(i)
	}
	before := bytes.Clone(b.Slice)
	report, err := value(typed[[]byte, string](p).Do(t.Context(), b.Slice))
	if err != nil || report != "" {
		t.Errorf("what succeeded: got %q, %v, want nothing", report, err)
	}
	if !bytes.Equal(b.Slice, before) {
		t.Error("the buffer has changed")
	}
	b.Slice[len(b.Slice)-1]++                 // it can still be written here
	newBuffer[byte](t, p, 100<<20).Slice[0]++ // and there can be others
}

// attack tries to write to the buffers at an offset, or to change their size, and returns what worked.
func attack(at []uint64) string {
	var done []string
	if len(at) != 1 {
		return fmt.Sprintf("got %d places, want 1", len(at))
	}
	try := func(what string, err error) {
		if err == nil {
			done = append(done, what)
		}
	}
	fd, err := strconv.Atoi(os.Getenv(wire.EnvBuffers))
	if err != nil {
		return err.Error()
	}
	path := fmt.Sprintf("/proc/self/fd/%d", fd)
	_ = unix.Fchmod(fd, 0o777)
	files := []int{fd}
	if again, err := unix.Open(path, unix.O_RDWR, 0); err == nil {
		files = append(files, again)
	}
	source, err := os.Open("/proc/self/exe")
	if err != nil { // a strict worker has no /proc, and its own /tmp
		source, err = os.CreateTemp("", "")
	}
	if err != nil {
		return err.Error()
	}
	_, _ = source.WriteString(strings.Repeat("x", 100))
	for i, fd := range files {
		name := []string{"inherited", "opened again"}[i]
		offset := int64(at[0])
		_, err := unix.Mmap(fd, 0, 1<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
		try(name+": map to write", err)
		view, err := unix.Mmap(fd, 0, 1<<20, unix.PROT_READ, unix.MAP_SHARED)
		if err != nil {
			return err.Error()
		}
		try(name+": mprotect", unix.Mprotect(view, unix.PROT_READ|unix.PROT_WRITE))
		if mem, err := os.OpenFile("/proc/self/mem", os.O_RDWR, 0); err == nil {
			_, err = mem.WriteAt([]byte("xxxx"), int64(uintptr(unsafe.Pointer(&view[offset]))))
			try(name+": write through /proc/self/mem", err)
		}
		_, err = unix.Pwrite(fd, []byte("xxxx"), offset)
		try(name+": write", err)
		to := offset
		_, err = unix.CopyFileRange(int(source.Fd()), new(int64), fd, &to, 100, 0)
		try(name+": copy_file_range", err)
		if _, err = unix.Seek(fd, offset, io.SeekStart); err == nil {
			_, err = unix.Sendfile(fd, int(source.Fd()), new(int64), 100)
			try(name+": sendfile", err)
		}
		try(name+": punch a hole", unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, 1<<20))
		try(name+": zero", unix.Fallocate(fd, unix.FALLOC_FL_ZERO_RANGE, 0, 1<<20))
		try(name+": cut", unix.Ftruncate(fd, 0))
		try(name+": grow", unix.Ftruncate(fd, 1<<41))
		_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_WRITE)
		try(name+": another seal", err)
		private, err := unix.Mmap(fd, 0, 1<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE)
		if err == nil { // a copy of its own
			private[offset] = 'x'
		}
	}
	return strings.Join(done, "; ")
}
