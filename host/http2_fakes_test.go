//go:build unix

package host_test

import (
	"bytes"
	"io"
	"maps"
	"math"
	"net"
	"strings"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

func init() { maps.Copy(fakes, http2Fakes) }

// http2Fakes are plugins that listen as they should, and break the promises of what lies below gRPC.
var http2Fakes = map[string]func(){
	"http2: garbage": speaks(func(c net.Conn) {
		for noise := bytes.Repeat([]byte{0x55, 0, 0xff}, 20_000); ; {
			if _, err := c.Write(noise); err != nil {
				return
			}
		}
	}),
	"http2: hangs up": speaks(func(c net.Conn) { _ = c.Close() }),
	"http2: goes away": speaks(frames(func(f *http2.Framer, _ uint32) error {
		return f.WriteGoAway(math.MaxInt32, http2.ErrCodeEnhanceYourCalm, bytes.Repeat([]byte("x"), 1<<13))
	})),
	"http2: huge headers": speaks(frames(func(f *http2.Framer, stream uint32) error {
		var block bytes.Buffer
		e := hpack.NewEncoder(&block)
		e.SetMaxDynamicTableSize(0)
		for e.WriteField(hpack.HeaderField{Name: "x", Value: strings.Repeat("x", 100)}) == nil && block.Len() < 1<<13 {
			continue
		}
		if err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: block.Bytes()}); err != nil {
			return err
		}
		for {
			if err := f.WriteContinuation(stream, false, block.Bytes()); err != nil {
				return err
			}
		}
	})),
	"http2: pings": speaks(frames(func(f *http2.Framer, _ uint32) error { return f.WritePing(false, [8]byte{}) })),
	"http2: settings": speaks(frames(func(f *http2.Framer, _ uint32) error {
		return f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1})
	})),
	"http2: pushes": speaks(frames(func(f *http2.Framer, stream uint32) error {
		return f.WritePushPromise(http2.PushPromiseParam{StreamID: stream, PromiseID: 2, EndHeaders: true})
	})),
	"http2: beyond window": speaks(frames(func(f *http2.Framer, stream uint32) error { return f.WriteData(stream, false, make([]byte, 1<<14)) })),
}

// speaks is a plugin that says something of its own to whoever calls it.
func speaks(say func(c net.Conn)) func() {
	return func() {
		l, err := net.Listen("unix", socket())
		if err != nil {
			panic(err)
		}
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					panic(err)
				}
				go say(c)
			}
		}()
		shake("unix", l.Addr().String(), "grpc")
	}
}

// frames waits for the first call, and then writes frames without end.
func frames(write func(f *http2.Framer, stream uint32) error) func(c net.Conn) {
	return func(c net.Conn) {
		if _, err := io.ReadFull(c, make([]byte, len(http2.ClientPreface))); err != nil {
			return
		}
		f := http2.NewFramer(c, c)
		if f.WriteSettings() != nil {
			return
		}
		for {
			frame, err := f.ReadFrame()
			if err != nil {
				return
			}
			if h, ok := frame.(*http2.HeadersFrame); ok {
				go func() { _, _ = io.Copy(io.Discard, c) }()
				for write(f, h.StreamID) == nil {
					continue
				}
				return
			}
		}
	}
}
