package wire_test

import (
	"math"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"github.com/parhost/parhost/internal/wire"
	"github.com/parhost/parhost/internal/wire/workerpb"
	"github.com/parhost/parhost/protocol"
)

func TestItemErrorsTravel(t *testing.T) {
	for _, kind := range []protocol.Kind{protocol.KindBadItem, protocol.KindFailed, protocol.KindPanicked, protocol.KindTimeout, protocol.KindCanceled, protocol.KindOversize} {
		want := &protocol.ItemError{Kind: kind, Message: "m", Stack: "s", Offset: 7, Size: 9}
		pb := wire.ErrorToProto(want, 5)
		if pb.GetItem() != 5 {
			t.Errorf("place of kind %s: got %d, want 5", kind, pb.GetItem())
		}
		if d := cmp.Diff(want, wire.ErrorFromProto(pb)); d != "" {
			t.Errorf("an error of kind %s changed on its way (-want +got):\n%s", kind, d)
		}
	}
}

// A worker cannot report that it crashed, nor invent a kind.
func TestKindsThatAWorkerCannotClaimCountAsFailed(t *testing.T) {
	for _, kind := range []workerpb.Kind{workerpb.Kind_KIND_UNSPECIFIED, 99, -1} {
		if got := wire.ErrorFromProto(&workerpb.ItemError{Kind: kind}).Kind; got != protocol.KindFailed {
			t.Errorf("kind %d: got %s, want failed", kind, got)
		}
	}
	if got := wire.ErrorToProto(&protocol.ItemError{Kind: protocol.KindCrashed}, 0).GetKind(); got != workerpb.Kind_KIND_FAILED {
		t.Errorf("a worker that reports a crash: got %v, want failed", got)
	}
}

// FuzzFromProto decodes any bytes that a worker may send as an error.
func FuzzFromProto(f *testing.F) {
	good, _ := proto.Marshal(wire.ErrorToProto(&protocol.ItemError{Kind: protocol.KindPanicked, Message: "m", Stack: "s"}, 1))
	f.Add(good)
	huge, _ := proto.Marshal(&workerpb.ItemError{Kind: 77, Offset: math.MaxUint64, Size: math.MaxUint64, Message: strings.Repeat("x", wire.MaxMessageText+5)})
	f.Add(huge)
	f.Fuzz(func(t *testing.T, b []byte) {
		var pb workerpb.ItemError
		if proto.Unmarshal(b, &pb) != nil {
			return
		}
		e := wire.ErrorFromProto(&pb)
		if !protocol.IsKind(e.Kind) || e.Offset < 0 || e.Size < 0 || len(e.Message) > wire.MaxMessageText || len(e.Stack) > wire.MaxStackText || !utf8.ValidString(e.Message+e.Stack) {
			t.Fatalf("got %+v, want a known kind, no negative numbers and bounded texts", e)
		}
		if again := wire.ErrorFromProto(wire.ErrorToProto(e, 0)); !cmp.Equal(again, e) {
			t.Fatalf("sent on it changed: %s", cmp.Diff(e, again))
		}
	})
}
