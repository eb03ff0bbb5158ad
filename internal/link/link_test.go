//go:build unix

package link_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"github.com/parhost/parhost/internal/link"
	"github.com/parhost/parhost/internal/wire/workerpb"
)

const most = 32 << 20

// each runs a test on both kinds of links, with both ends.
func each(t *testing.T, test func(t *testing.T, host, worker *link.Link)) {
	t.Helper()
	t.Run("channels", func(t *testing.T) {
		host, worker := pair(t)
		test(t, host, worker)
	})
	t.Run("rings", func(t *testing.T) {
		host, worker := rings(t)
		test(t, host, worker)
	})
}

var soon atomic.Uint32

// rings returns both ends of a link that uses shared memory.
func rings(t testing.TB) (host, worker *link.Link) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("rings are on Linux alone")
	}
	host, worker = pair(t)
	host.Soon = func() bool { return soon.Add(1)%2 == 0 } // so that both ends sometimes poll, and sometimes sleep at once
	files, err := host.Offer()
	if err != nil {
		t.Fatal(err)
	}
	var fds [3]int
	for i, f := range files {
		fds[i] = inherited(t, f)
	}
	t.Cleanup(func() { _, _ = unix.Close(fds[1]), unix.Close(fds[2]) })
	if err := worker.Take(fds[0], fds[1], fds[2]); err != nil {
		t.Fatal(err)
	}
	host.AdoptRings()
	return host, worker
}

// pair returns both ends of a link that uses channels.
func pair(t testing.TB) (host, worker *link.Link) {
	t.Helper()
	host, in, out := open(t)
	worker, err := link.Open(inherited(t, in), inherited(t, out), most)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(worker.Close)
	return host, worker
}

// inherited returns a copy of a file descriptor, as a worker process would have inherited it, and closes f.
func inherited(t testing.TB, f *os.File) int {
	t.Helper()
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err = errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	return fd
}

// open returns one end of a link, and the files of the other.
func open(t testing.TB) (l *link.Link, in, out *os.File) {
	t.Helper()
	l, in, out, err := link.New(most)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		l.Close()
		_ = in.Close()
		_ = out.Close()
	})
	return l, in, out
}

func batch(id uint64, size int) *workerpb.WorkRequest {
	return &workerpb.WorkRequest{Message: &workerpb.WorkRequest_Batch{Batch: &workerpb.Batch{Id: id, Items: bytes.Repeat([]byte{byte(id)}, size)}}}
}

func TestMessagesArriveInOrderWhateverTheirSize(t *testing.T) {
	each(t, func(t *testing.T, host, worker *link.Link) {
		sizes := []int{0, 1, 100, 64<<10 - 20, 64 << 10, 64<<10 + 1, 5 << 20, 7, 20 << 20, 0}
		sent := make(chan error, 1)
		go func() {
			for i, size := range sizes {
				if err := host.Send(batch(uint64(i), size), nil); err != nil {
					sent <- err
					return
				}
			}
			sent <- host.CloseSend()
		}()
		for i, size := range sizes {
			var got workerpb.WorkRequest
			if err := worker.Recv(&got); err != nil || !proto.Equal(&got, batch(uint64(i), size)) {
				t.Fatalf("message %d of %d bytes: got batch %d of %d bytes, %v", i, size, got.GetBatch().GetId(), len(got.GetBatch().GetItems()), err)
			}
		}
		if err := <-sent; err != nil {
			t.Errorf("Send: got %v", err)
		}
		if err := worker.Recv(new(workerpb.WorkRequest)); !errors.Is(err, io.EOF) {
			t.Errorf("after CloseSend: got %v, want io.EOF", err)
		}
	})
}

func TestAMessageBeyondTheLimitIsRefused(t *testing.T) {
	each(t, func(t *testing.T, host, worker *link.Link) {
		go func() { _ = host.Send(batch(1, most+1), nil) }()
		err := worker.Recv(new(workerpb.WorkRequest))
		if !errors.Is(err, link.ErrTooLarge) || !strings.Contains(err.Error(), "the limit is 33554432") {
			t.Errorf("got %v, want ErrTooLarge with the limit", err)
		}
	})
}

func TestAMessageIsCheckedBeforeItIsDecoded(t *testing.T) {
	each(t, func(t *testing.T, host, worker *link.Link) {
		wrong := errors.New("too much of it")
		worker.Check = func(message []byte) error {
			if len(message) > 1000 {
				return wrong
			}
			return nil
		}
		go func() {
			_ = host.Send(batch(1, 10), nil)
			_ = host.Send(batch(2, 2000), nil)
		}()
		var got workerpb.WorkRequest
		if err := worker.Recv(&got); err != nil || got.GetBatch().GetId() != 1 {
			t.Errorf("a message that is well: got %v, %v, want batch 1", &got, err)
		}
		if err := worker.Recv(&got); !errors.Is(err, link.ErrRefused) || !errors.Is(err, wrong) {
			t.Errorf("a message that is refused: got %v, want ErrRefused with the reason", err)
		}
	})
}

func TestAnEndThatDoesNotReadIsNoticed(t *testing.T) {
	each(t, func(t *testing.T, host, worker *link.Link) {
		noticed, stopped := make(chan struct{}), make(chan struct{})
		sent := make(chan error, 1)
		go func() {
			sent <- host.Send(batch(1, 1<<20), func() func() {
				close(noticed)
				return func() { close(stopped) }
			})
		}()
		<-noticed
		if err := worker.Recv(new(workerpb.WorkRequest)); err != nil {
			t.Fatal(err)
		}
		<-stopped
		if err := <-sent; err != nil {
			t.Errorf("Send: got %v", err)
		}
		if err := host.Send(batch(2, 100), func() func() { t.Error("a message that fits is said not to"); return func() {} }); err != nil {
			t.Errorf("Send: got %v", err)
		}
	})
}

func TestCloseEndsWhatWaits(t *testing.T) {
	each(t, func(t *testing.T, host, worker *link.Link) {
		waiting := make(chan struct{})
		ended := make(chan error, 2)
		go func() { ended <- host.Send(batch(1, 1<<20), func() func() { close(waiting); return func() {} }) }()
		go func() { ended <- host.Recv(new(workerpb.WorkResponse)) }()
		<-waiting
		host.Close()
		for range 2 {
			select {
			case err := <-ended:
				if err == nil {
					t.Error("got no error, want one")
				}
			case <-time.After(10 * time.Second):
				t.Fatal("Send or Recv waits on after Close")
			}
		}
		for {
			if err := worker.Recv(new(workerpb.WorkRequest)); err != nil {
				break
			}
		}
	})
}

// A frame that announces a large message uses no memory before its bytes have come.
func TestMemoryIsTakenAsBytesCome(t *testing.T) {
	host, _, out := open(t)
	if _, err := out.Write([]byte{0, 0, 0xff, 1}); err != nil { // 32 MiB less 64 KiB
		t.Fatal(err)
	}
	_ = out.Close()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if err := host.Recv(new(workerpb.WorkResponse)); !errors.Is(err, io.EOF) {
		t.Errorf("got %v, want io.EOF", err)
	}
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; took > 1<<20 {
		t.Errorf("a message that did not come took %d bytes, want at most 1 MiB", took)
	}
}

// FuzzRecv gives a link any bytes that the other end may write, and reads until an error.
func FuzzRecv(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0})
	f.Add([]byte{5, 0, 0, 0, 255, 255, 255, 255, 255})
	f.Add([]byte{255, 255, 255, 255})
	f.Add([]byte{200, 0, 0})
	message, err := proto.Marshal(&workerpb.WorkResponse{Message: &workerpb.WorkResponse_Results{Results: &workerpb.Results{Batch: 1, Count: 2, Last: true}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(append([]byte{byte(len(message)), 0, 0, 0}, message...))
	f.Fuzz(func(t *testing.T, said []byte) {
		host, _, out := open(t)
		go func() {
			_, _ = out.Write(said)
			_ = out.Close()
		}()
		for read := 0; ; read++ {
			m := new(workerpb.WorkResponse)
			if err := host.Recv(m); err != nil {
				return
			}
			if read > len(said) {
				t.Fatalf("%d messages of %d bytes", read, len(said))
			}
		}
	})
}

func BenchmarkRoundTrip(b *testing.B) {
	for name, open := range map[string]func(testing.TB) (host, worker *link.Link){"channels": pair, "rings": rings} {
		b.Run(name, func(b *testing.B) {
			host, worker := open(b)
			roundTrips(b, host, worker)
		})
	}
}

func roundTrips(b *testing.B, host, worker *link.Link) {
	b.Helper()
	go func() {
		for {
			var m workerpb.WorkRequest
			if worker.Recv(&m) != nil {
				return
			}
			if worker.Send(&workerpb.WorkResponse{Message: &workerpb.WorkResponse_Results{Results: &workerpb.Results{Batch: m.GetBatch().GetId()}}}, nil) != nil {
				return
			}
		}
	}()
	m := batch(1, 8)
	for b.Loop() {
		if err := host.Send(m, nil); err != nil {
			b.Fatal(err)
		}
		if err := host.Recv(new(workerpb.WorkResponse)); err != nil {
			b.Fatal(err)
		}
	}
}
