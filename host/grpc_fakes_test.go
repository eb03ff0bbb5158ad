//go:build unix

package host_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"strings"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/protobuf/proto"

	"github.com/parhost/parhost/internal/wire/workerpb"
)

func init() { maps.Copy(fakes, grpcFakes) }

// grpcFakes are plugins that speak gRPC by hand, and keep to it only as far as it suits them.
var grpcFakes = map[string]func(){
	"no streams": grpcByHand{asked: func(h *handmade, _ uint32) error {
		return h.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 0})
	}}.serve,
	"answers unread": unread,
}

// unread answers the first batch at its first bytes, and takes no more of it than HTTP/2 lets a peer send unasked.
func unread() {
	answered := false
	grpcByHand{
		opened: (*handmade).ready,
		told: func(h *handmade, _ []byte) error {
			if answered {
				return nil
			}
			answered = true
			return h.say(h.work, results(good(&workerpb.Batch{Id: 1}, 1)))
		},
	}.serve()
}

// grpcByHand is a worker that answers Describe itself. What it does beyond that is up to its functions, of which any may be nil.
type grpcByHand struct {
	asked  func(h *handmade, stream uint32) error // what it is, before it answers
	opened func(h *handmade, stream uint32) error // the Work stream
	told   func(h *handmade, data []byte) error   // something on it, from the first batch on
}

// handmade is a connection of such a worker.
type handmade struct {
	*http2.Framer
	work uint32 // number of the Work stream
}

func (g grpcByHand) serve() {
	speaks(func(c net.Conn) {
		if _, err := io.ReadFull(c, make([]byte, len(http2.ClientPreface))); err != nil {
			return
		}
		h := &handmade{Framer: http2.NewFramer(c, c)}
		h.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
		err := h.WriteSettings()
		for err == nil {
			var f http2.Frame
			if f, err = h.ReadFrame(); err == nil {
				err = g.hear(h, f)
			}
		}
		fmt.Fprintln(os.Stderr, err)
	})()
}

func (g grpcByHand) hear(h *handmade, f http2.Frame) error {
	switch f := f.(type) {
	case *http2.SettingsFrame:
		if f.IsAck() {
			return nil
		}
		return h.WriteSettingsAck()
	case *http2.MetaHeadersFrame:
		switch path := f.PseudoValue("path"); {
		case strings.HasSuffix(path, "/Describe"):
			if err := do(g.asked, h, f.StreamID); err != nil {
				return err
			}
			return h.describe(f.StreamID)
		case strings.HasSuffix(path, "/Work"):
			h.work = f.StreamID
			return do(g.opened, h, h.work)
		}
	case *http2.DataFrame:
		if len(f.Data()) > startBytes && f.StreamID == h.work {
			return do(g.told, h, f.Data())
		}
	}
	return nil
}

// startBytes is more than the first message on the Work stream takes.
const startBytes = 64

func do[T any](f func(*handmade, T) error, h *handmade, v T) error {
	if f == nil {
		return nil
	}
	return f(h, v)
}

func (h *handmade) describe(stream uint32) error {
	if err := h.begin(stream); err != nil {
		return err
	}
	if err := h.say(stream, &workerpb.DescribeResponse{Manifest: &workerpb.Manifest{Name: "liar", ItemKind: "json", ResultKind: "json"}}); err != nil {
		return err
	}
	return h.headers(stream, true, "grpc-status", "0")
}

// ready lets the Work stream begin.
func (h *handmade) ready(stream uint32) error {
	if err := h.begin(stream); err != nil {
		return err
	}
	return h.say(stream, ready(false))
}

// begin answers a call.
func (h *handmade) begin(stream uint32) error {
	return h.headers(stream, false, ":status", "200", "content-type", "application/grpc")
}

func (h *handmade) headers(stream uint32, last bool, fields ...string) error {
	var block bytes.Buffer
	e := hpack.NewEncoder(&block)
	for i := 0; i < len(fields); i += 2 {
		if err := e.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]}); err != nil {
			return err
		}
	}
	return h.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: block.Bytes(), EndStream: last, EndHeaders: true})
}

// say sends a message.
func (h *handmade) say(stream uint32, m proto.Message) error {
	b, err := proto.Marshal(m)
	if err != nil {
		return err
	}
	const whole = 0 // not compressed
	return h.WriteData(stream, false, append(binary.BigEndian.AppendUint32([]byte{whole}, uint32(len(b))), b...))
}
