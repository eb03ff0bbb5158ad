//go:build linux

package host_test

import (
	"encoding/binary"
	"fmt"
	"maps"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/host/sandbox"
	"github.com/parhost/parhost/internal/wire"
	"github.com/parhost/parhost/plugins/sqrt"
)

func init() { maps.Copy(fakes, ringFakes) }

// ringFakes are plugins that use the link's rings against the protocol once they have been sent something.
var ringFakes = map[string]func(){
	"ring: more than fits":    ringLie(func(r *handRings) { r.wrote.Add(64<<10 + 1); r.wake(r.data) }),
	"ring: half of numbers":   ringLie(func(r *handRings) { r.wrote.Add(1 << 31); r.wake(r.data) }),
	"ring: wakes without end": ringLie(func(r *handRings) { r.wakeForEver(r.data) }),
	"ring: rubbish":           ringLie(func(r *handRings) { r.say("\x05\x00\x00\x00\xff\xff\xff\xff\xff"); r.wake(r.data) }),
	"ring: a frame of 4 GiB":  ringLie(func(r *handRings) { r.say("\xff\xff\xff\xff"); r.wake(r.data) }),
	"ring: backwards": ringLie(func(r *handRings) {
		r.say("\x40\x00\x00\x00half")
		r.wake(r.data)
		for r.heard.Load() != 8 {
			time.Sleep(time.Millisecond)
		}
		r.wrote.Store(4)
		r.wake(r.data)
	}),
	"ring: reads what is not there": ringLie(func(r *handRings) {
		for r.sent.Load() < 64<<10 {
			time.Sleep(time.Millisecond)
		}
		r.read.Store(1 << 20)
		r.wake(r.room)
	}),
	"ring: wakes for room without end": ringLie(func(r *handRings) { r.wakeForEver(r.room) }),
	"ring: reads nothing":              ringLie(func(*handRings) {}),
	"ring: wakes nobody":               ringLie(func(r *handRings) { r.say("\x40\x00\x00\x00half") }),
	"ring: changes all the time": ringLie(func(r *handRings) {
		go r.wakeForEver(r.data)
		go r.wakeForEver(r.room)
		for i := uint32(0); ; i++ {
			r.wrote.Store(i % 64)
			r.read.Store(i % 7)
			r.asleep.Store(1)
		}
	}),
}

// handRings are a worker's rings, used by hand.
type handRings struct {
	sent, read, asleep *atomic.Uint32 // of the ring from the host
	wrote, heard       *atomic.Uint32 // of the ring to it
	up                 []byte
	data, room         int
}

// ringLie is a plugin that does something with its rings once, and then nothing.
func ringLie(lie func(r *handRings)) func() {
	return func() {
		fakeServe(&liar{work: func(s stream) error {
			const size, first, second = 64 << 10, 512, 1024
			var memory, data, room int
			if _, err := fmt.Sscanf(os.Getenv(wire.EnvRings), "%d,%d,%d", &memory, &data, &room); err != nil {
				return err
			}
			m, err := unix.Mmap(memory, 0, 4096+2*size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
			if err != nil {
				return err
			}
			word := func(at int) *atomic.Uint32 { return (*atomic.Uint32)(unsafe.Pointer(&m[at])) }
			r := &handRings{
				sent: word(first), read: word(first + 64), asleep: word(first + 192), wrote: word(second), heard: word(second + 64),
				up: m[4096+size:], data: data, room: room,
			}
			word(0).Store(1)
			if err := s.Send(ready(true)); err != nil {
				return err
			}
			for r.sent.Load() == 0 {
				time.Sleep(time.Millisecond)
			}
			lie(r)
			select {}
		}})
	}
}

func (r *handRings) say(what string) {
	copy(r.up[r.wrote.Load():], what)
	r.wrote.Add(uint32(len(what)))
}

func (r *handRings) wake(bell int) { _, _ = unix.Write(bell, binary.NativeEndian.AppendUint64(nil, 1)) }

func (r *handRings) wakeForEver(bell int) {
	for {
		r.wake(bell)
	}
}

func TestALieAboutARingCostsTheWorkerAndIsBlamedOnItsItems(t *testing.T) {
	const broke = "broke the protocol: "
	for name, says := range map[string]string{
		"ring: more than fits":             broke + "a ring's number went from 0 to 65537, and could be 65536 at most",
		"ring: half of numbers":            broke + "a ring's number went from 0 to 2147483648",
		"ring: backwards":                  broke + "a ring's number went from 8 to 4",
		"ring: reads what is not there":    broke + "a ring's number went from 0 to 1048576",
		"ring: rubbish":                    broke + "a frame that is no message",
		"ring: a frame of 4 GiB":           "4294967295 bytes, the limit is",
		"ring: wakes without end":          broke + "woke the other end 1000 times for nothing",
		"ring: wakes for room without end": broke + "woke the other end 1000 times for nothing",
		"ring: reads nothing":              "does not read what it is sent",
		"ring: changes all the time":       broke,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			atLevels(t, allLevels, func(t *testing.T, policy sandbox.Policy) {
				cfg := fake(t, name)
				cfg.Sandbox = policy
				if name == "ring: reads nothing" {
					cfg.ItemTimeout = 200 * time.Millisecond
				}
				p := open(t, cfg)
				within(t, "Do on a worker that lies", 20*time.Second, func() {
					_, err := value(typed[string, int](p).Do(t.Context(), strings.Repeat("x", 100<<10))) // more than a ring has room for
					if err == nil || !strings.Contains(err.Error(), says) {
						t.Errorf("got %v, want %q", err, says)
					}
				})
			})
		})
	}
}

// A worker that wakes nobody is one that is silent.
func TestAWorkerThatWakesNobodyIsEndedAtItsLimit(t *testing.T) {
	atLevelsTogether(t, func(t *testing.T, policy sandbox.Policy) {
		cfg := fake(t, "ring: wakes nobody")
		cfg.Sandbox, cfg.ItemTimeout = policy, 200*time.Millisecond
		p := open(t, cfg)
		within(t, "Do", 20*time.Second, func() {
			_, err := value(typed[int, int](p).Do(t.Context(), 1))
			if e := itemError(t, "Do", err, host.KindTimeout); !strings.Contains(e.Message, "worker has been silent for") {
				t.Errorf("got %v, want it to be silent", e)
			}
		})
	})
}

func TestWorkersUseRingsAtEachLevel(t *testing.T) {
	atLevels(t, allLevels, func(t *testing.T, policy sandbox.Policy) {
		p := open(t, host.Config{Workload: sqrt.Workload, Workers: 1, Sandbox: policy})
		if _, err := value(typed[float64, float64](p).Do(t.Context(), 4)); err != nil {
			t.Fatal(err)
		}
		if n := mappings(t, "parhost-rings"); n != 1 {
			t.Errorf("got %d rings mapped, want those of 1 worker", n)
		}
		p.Close()
		if n := mappings(t, "parhost-rings"); n != 0 {
			t.Errorf("after Close: got %d rings mapped, want none", n)
		}
	})
}
