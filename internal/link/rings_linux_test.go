package link_test

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"github.com/parhost/parhost/internal/link"
	"github.com/parhost/parhost/internal/wire/workerpb"
)

// The layout that docs/PROTOCOL.md §5.11 gives.
const (
	used      = 0
	follows   = 64
	down      = 512
	up        = 1024
	wrote     = 0
	read      = 64
	closed    = 128
	reader    = 192
	ringBytes = 64 << 10
	downData  = 4096
	upData    = downData + ringBytes
	size      = upData + ringBytes
)

// hand is a worker's end of a link whose memory the test writes directly.
type hand struct {
	memory     []byte
	data, room *os.File // eventfds
	wake, full *os.File // channels: wake from the host, full to the host
}

// byHand returns the host's end of a link, and a worker's end whose memory the test writes directly.
func byHand(t testing.TB) (*link.Link, *hand) {
	t.Helper()
	return byHandWith(t, nil)
}

// byHandWith is byHand of a host that answers soon.
func byHandWith(t testing.TB, soon func() bool) (*link.Link, *hand) {
	t.Helper()
	host, in, out := open(t)
	host.Soon, host.MayPoll = soon, soon
	files, err := host.Offer()
	if err != nil {
		t.Fatal(err)
	}
	memory, err := unix.Mmap(int(files[0].Fd()), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	h := &hand{memory: memory, data: files[1], room: files[2], wake: in, full: out}
	t.Cleanup(func() {
		for _, f := range files {
			_ = f.Close()
		}
		_ = unix.Munmap(memory)
	})
	h.word(used).Store(1)
	host.AdoptRings()
	return host, h
}

func (h *hand) word(at int) *atomic.Uint32 { return (*atomic.Uint32)(unsafe.Pointer(&h.memory[at])) }

// ring wakes the host, whether it sleeps or not.
func ring(f *os.File) { _, _ = f.Write(binary.NativeEndian.AppendUint64(nil, 1)) }

// say writes bytes into the ring to the host, and wakes it. The ring must have room for them.
func (h *hand) say(b []byte) {
	h.put(b)
	ring(h.data)
}

// put writes bytes into the ring to the host.
func (h *hand) put(b []byte) {
	at := h.word(up + wrote).Load()
	for i, c := range b {
		h.memory[upData+(at+uint32(i))%ringBytes] = c
	}
	h.word(up + wrote).Add(uint32(len(b)))
}

func response(t testing.TB, n int) []byte {
	t.Helper()
	m, err := proto.Marshal(&workerpb.WorkResponse{Message: &workerpb.WorkResponse_Results{Results: &workerpb.Results{Batch: 7, Values: make([]byte, n)}}})
	if err != nil {
		t.Fatal(err)
	}
	return append(binary.LittleEndian.AppendUint32(nil, uint32(len(m))), m...)
}

// received calls Recv, which must not hang, and returns the result.
func received(t testing.TB, host *link.Link) (*workerpb.WorkResponse, error) {
	t.Helper()
	m := new(workerpb.WorkResponse)
	ended := make(chan error, 1)
	go func() { ended <- host.Recv(m) }()
	select {
	case err := <-ended:
		return m, err
	case <-time.After(30 * time.Second):
		host.Close()
		t.Fatal("Recv hangs until Close: ", <-ended)
		return nil, nil
	}
}

func TestTheLayoutOfRingsIsWhatTheProtocolSays(t *testing.T) {
	host, h := byHand(t)
	if err := host.Send(batch(9, 100), nil); err != nil {
		t.Fatal(err)
	}
	n := h.word(down + wrote).Load()
	var m workerpb.WorkRequest
	if err := proto.Unmarshal(h.memory[downData+4:downData+n], &m); err != nil || m.GetBatch().GetId() != 9 {
		t.Errorf("the ring to the worker: got %v, %v, want batch 9", &m, err)
	}
	h.word(down + read).Store(n)
	h.say(response(t, 10))
	if m, err := received(t, host); err != nil || m.GetResults().GetBatch() != 7 {
		t.Errorf("the ring to the host: got %v, %v, want results of batch 7", m, err)
	}
	h.word(up + closed).Store(1)
	ring(h.data)
	if _, err := received(t, host); !errors.Is(err, io.EOF) {
		t.Errorf("a ring that is closed: got %v, want io.EOF", err)
	}
	if err := host.CloseSend(); err != nil || h.word(down+closed).Load() != 1 {
		t.Errorf("CloseSend: got %v and the word %d, want 1", err, h.word(down+closed).Load())
	}
}

func TestTheHostTellsTheWorkerWhetherMessagesFollowSoon(t *testing.T) {
	var soon atomic.Bool
	host, h := byHandWith(t, soon.Load)
	for _, want := range []uint32{0, 1, 1, 0} {
		soon.Store(want == 1)
		if err := host.Send(batch(1, 1), nil); err != nil {
			t.Fatal(err)
		}
		if got := h.word(follows).Load(); got != want {
			t.Errorf("got the word %d, want %d", got, want)
		}
	}
}

// A message that comes while the reader polls needs no wake-up.
func TestAReaderThatPollsTakesAMessageWithoutBeingWoken(t *testing.T) {
	var polls atomic.Int64
	host, h := byHandWith(t, func() bool { polls.Add(1); return true })
	frame := response(t, 1)
	without := 0
	for range 200 {
		received := make(chan error, 1)
		before := polls.Load()
		go func() { received <- host.Recv(new(workerpb.WorkResponse)) }()
		for polls.Load() == before && h.word(up+reader).Load() == 0 {
			runtime.Gosched()
		}
		h.put(frame)
		select {
		case err := <-received:
			if err != nil {
				t.Fatal(err)
			}
			without++
			continue
		case <-time.After(time.Millisecond):
		}
		if h.word(up+reader).Swap(0) == 1 {
			ring(h.data)
		}
		if err := <-received; err != nil {
			t.Fatal(err)
		}
	}
	if without == 0 {
		t.Error("each of 200 messages needed a wake-up")
	}
}

// A worker that keeps the reader polling gets no more than the host allows.
func TestAReaderPollsOnlyAsOftenAsItMay(t *testing.T) {
	polls := 0
	host, h := byHandWith(t, func() bool { polls++; return polls <= 3 })
	received := make(chan error, 1)
	go func() { received <- host.Recv(new(workerpb.WorkResponse)) }()
	frame := response(t, 100)
	slept := 0
	for i := range frame { // byte by byte
		for begun := time.Now(); h.word(up+reader).Load() == 0 && time.Since(begun) < 50*time.Microsecond; {
			runtime.Gosched()
		}
		slept += int(h.word(up + reader).Swap(0))
		h.say(frame[i : i+1])
	}
	if err := <-received; err != nil {
		t.Fatal(err)
	}
	if slept == 0 {
		t.Error("the reader polled all the time")
	}
}

func TestAReaderThatPolledInVainSleepsAndIsWoken(t *testing.T) {
	host, h := byHandWith(t, func() bool { return true })
	for range 10 {
		received := make(chan error, 1)
		go func() { received <- host.Recv(new(workerpb.WorkResponse)) }()
		for h.word(up+reader).Load() == 0 && len(received) == 0 {
			runtime.Gosched()
		}
		h.word(up + reader).Store(0)
		h.say(response(t, 1))
		if err := <-received; err != nil {
			t.Fatal(err)
		}
	}
}

func TestAnEndIsWokenOnlyWhenItSleeps(t *testing.T) {
	host, h := byHand(t)
	if err := unix.SetNonblock(int(h.wake.Fd()), true); err != nil {
		t.Fatal(err)
	}
	bytes := make([]byte, 8)
	if err := host.Send(batch(1, 1), nil); err != nil {
		t.Fatal(err)
	}
	if n, err := unix.Read(int(h.wake.Fd()), bytes); n > 0 {
		t.Errorf("a worker that is awake: got %d bytes, %v, want none", n, err)
	}
	h.word(down + reader).Store(1)
	for range 3 {
		if err := host.Send(batch(1, 1), nil); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := unix.Read(int(h.wake.Fd()), bytes); n != 1 {
		t.Errorf("a worker that sleeps: got %d bytes, %v, want 1", n, err)
	}
}

func TestNumbersThatCannotBeEndTheLink(t *testing.T) {
	for name, lie := range map[string]func(h *hand){
		"wrote more than there is room for": func(h *hand) { h.word(up + wrote).Add(ringBytes + 1) },
		"wrote half of the numbers":         func(h *hand) { h.word(up + wrote).Add(1 << 31) },
		"wrote less than before":            func(h *hand) { h.word(up + wrote).Add(^uint32(0)) },
		"wrote nothing at all":              func(h *hand) { h.word(up + wrote).Store(0) },
		"wrote a frame that is no message":  func(h *hand) { h.say([]byte("\x05\x00\x00\x00\xff\xff\xff\xff\xff")) },
	} {
		t.Run(name, func(t *testing.T) {
			host, h := byHand(t)
			h.say(response(t, 10))
			if _, err := received(t, host); err != nil {
				t.Fatal(err)
			}
			lie(h)
			ring(h.data)
			if _, err := received(t, host); !errors.Is(err, link.ErrFrame) {
				t.Errorf("got %v, want ErrFrame", err)
			}
		})
	}
	// When the sender finds that the other end breaks the protocol, Recv reports it.
	for name, by := range map[string]uint32{"read more than there is": 1 << 20, "read less than before": 1<<32 - 1} {
		t.Run(name, func(t *testing.T) {
			host, h := byHand(t)
			large := batch(1, ringBytes-100)
			if err := host.Send(large, nil); err != nil {
				t.Fatal(err)
			}
			h.word(down + read).Store(h.word(down + wrote).Load())
			if err := host.Send(large, nil); err != nil {
				t.Fatal(err)
			}
			h.word(down + read).Add(by)
			if err := host.Send(large, nil); !errors.Is(err, link.ErrFrame) {
				t.Errorf("Send: got %v, want ErrFrame", err)
			}
			if _, err := received(t, host); !errors.Is(err, link.ErrFrame) {
				t.Errorf("Recv: got %v, want ErrFrame", err)
			}
		})
	}
}

func TestAnEndThatIsWokenForNothingDoesNotGoOnForEver(t *testing.T) {
	t.Run("for data", func(t *testing.T) {
		host, h := byHand(t)
		wakeUntil(t, h.data, func() error { _, err := received(t, host); return err })
	})
	t.Run("for room", func(t *testing.T) {
		host, h := byHand(t)
		wakeUntil(t, h.room, func() error { return host.Send(batch(1, 1<<20), nil) })
		if _, err := received(t, host); !errors.Is(err, link.ErrFrame) {
			t.Errorf("Recv: got %v, want ErrFrame", err)
		}
	})
}

// wakeUntil wakes the host repeatedly until a call returns. The call must return.
func wakeUntil(t *testing.T, bell *os.File, call func() error) {
	t.Helper()
	ended := make(chan error, 1)
	go func() { ended <- call() }()
	for deadline := time.Now().Add(60 * time.Second); time.Now().Before(deadline); ring(bell) {
		select {
		case err := <-ended:
			if !errors.Is(err, link.ErrFrame) || !strings.Contains(err.Error(), "1000 times for nothing") {
				t.Errorf("got %v, want ErrFrame and the limit", err)
			}
			return
		default:
		}
	}
	t.Error("the host is woken on and on")
}

// When the stream has ended, a process that the worker left behind may still write.
func TestWhatIsWrittenAfterTheEndIsNotRead(t *testing.T) {
	host, h := byHand(t)
	h.say(response(t, 10))
	host.Expire()
	h.say(response(t, 10))
	if _, err := received(t, host); err != nil {
		t.Errorf("what was there: got %v", err)
	}
	if _, err := received(t, host); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("what came later: got %v, want os.ErrDeadlineExceeded", err)
	}
}

// A worker may change its counters back and forth while the host reads them.
func TestNumbersThatChangeAsTheyAreReadDoNotHoldTheHost(t *testing.T) {
	host, h := byHand(t)
	stop := make(chan struct{})
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		for i := uint32(0); ; i++ {
			select {
			case <-stop:
				return
			default:
				h.word(up + wrote).Store(i % 3 * ringBytes)
				h.word(down + read).Store(i)
				h.word(down + reader).Store(1)
				ring(h.data)
				ring(h.room)
			}
		}
	}()
	for {
		if _, err := received(t, host); err != nil {
			break
		}
	}
	_ = host.Send(batch(1, 1<<20), nil) // returns
	close(stop)
	<-stopped
}

// FuzzRing lets the other end do anything with its ring between two reads of the host; each pair of input bytes is one step. It reads until an error.
func FuzzRing(f *testing.F) {
	f.Add([]byte{0, 4, 1, 4})
	f.Add([]byte{2, 255, 3, 1, 0, 9, 4, 0})
	f.Add([]byte{0, 200, 5, 0, 0, 1})
	f.Fuzz(func(t *testing.T, steps []byte) {
		if len(steps) > 1000 {
			return
		}
		host, h := byHand(t)
		frame := response(t, 3)
		for ; len(steps) >= 2; steps = steps[2:] {
			n := uint32(steps[1])
			switch steps[0] % 7 {
			case 0:
				h.say(frame)
			case 1:
				h.say(frame[:min(int(n), len(frame))])
			case 2:
				h.word(up + wrote).Add(n << (steps[0] / 7))
			case 3:
				h.word(up + wrote).Add(-n)
			case 4:
				h.word(down + read).Store(n)
			case 5:
				h.word(down + reader).Store(n)
				h.word(up + read).Store(n)
			case 6:
				if host.Send(batch(1, int(n)<<8), func() func() { host.Close(); return func() {} }) != nil {
					return
				}
			}
		}
		h.word(up + closed).Store(1)
		ring(h.data)
		for {
			if _, err := received(t, host); err != nil {
				return
			}
		}
	})
}

// Only under the race detector, and on several CPUs, has this ever failed. Each end says that it sleeps, or that it has written, and then looks at what the other end has said. If both could look first, both would sleep.
func TestAtLeastOneEndSeesWhatTheOtherHasSet(t *testing.T) {
	const rounds, line = 20_000, 64
	memory, err := unix.Mmap(-1, 0, 2*rounds*line, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANON|unix.MAP_POPULATE)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Munmap(memory) }()
	word := func(i int) *atomic.Uint32 { return (*atomic.Uint32)(unsafe.Pointer(&memory[i*line])) }
	var round [2]atomic.Uint32
	var saw [2][rounds]uint32
	var ends sync.WaitGroup
	for end := range 2 {
		ends.Go(func() {
			for i := range rounds {
				for round[end].Store(uint32(i + 1)); round[1-end].Load() <= uint32(i); {
					runtime.Gosched()
				}
				link.Set(word(2*i+end), 1)
				saw[end][i] = word(2*i + 1 - end).Load()
			}
		})
	}
	ends.Wait()
	for i := range rounds {
		if saw[0][i]+saw[1][i] == 0 {
			t.Fatalf("round %d: neither end saw what the other had set before", i)
		}
	}
}
