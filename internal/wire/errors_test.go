package wire_test

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"math"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"github.com/parhost/parhost/internal/bound"
	"github.com/parhost/parhost/internal/wire"
	"github.com/parhost/parhost/internal/wire/workerpb"
	"github.com/parhost/parhost/protocol"
)

var errorOf = map[protocol.Kind]error{
	protocol.KindBadItem: protocol.ErrBadItem, protocol.KindFailed: protocol.ErrFailed, protocol.KindPanicked: protocol.ErrPanicked, protocol.KindTimeout: protocol.ErrTimeout,
	protocol.KindCrashed: protocol.ErrCrashed, protocol.KindOutOfMemory: protocol.ErrOutOfMemory, protocol.KindOversize: protocol.ErrOversize, protocol.KindCanceled: protocol.ErrCanceled,
}

func TestItemErrorsMatchTheErrorOfTheirKindAlone(t *testing.T) {
	for kind := range errorOf {
		err := fmt.Errorf("somewhere: %w", &protocol.ItemError{Kind: kind})
		for other, target := range errorOf {
			if got := errors.Is(err, target); got != (other == kind) {
				t.Errorf("an ItemError of kind %s and the error of %s: Is says %v", kind, other, got)
			}
		}
	}
	if errors.Is(&protocol.ItemError{Kind: "unheard of"}, protocol.ErrFailed) {
		t.Error("an ItemError of an unknown kind: Is says it failed")
	}
}

// A cause or kind that is declared but not listed would make records that cannot be read back. Package sandbox has causes of its own, which become
// the host's.
func TestEachCauseAndKindThatIsDeclaredIsListed(t *testing.T) {
	found := 0
	for _, path := range []string{"errors.go", "../../host/sandbox/death.go"} {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok || spec.Type == nil || len(spec.Values) != 1 {
				return true
			}
			literal, ok := spec.Values[0].(*ast.BasicLit)
			typ, named := spec.Type.(*ast.Ident)
			if !ok || !named {
				return true
			}
			word, err := strconv.Unquote(literal.Value)
			if err != nil {
				t.Fatalf("%s: constant %s: %v", path, spec.Names[0], err)
			}
			switch {
			case typ.Name == "Cause" && !protocol.IsCause(protocol.Cause(word)):
				t.Errorf("%s: cause %q is not in the list of causes", path, word)
			case typ.Name == "Kind" && !protocol.IsKind(protocol.Kind(word)):
				t.Errorf("%s: kind %q is not in the list of kinds", path, word)
			}
			found++
			return true
		})
	}
	if want := len(errorOf) + len(protocol.Causes()); found < want {
		t.Errorf("found %d constants, want at least %d: the test no longer sees them", found, want)
	}
}

func TestItemErrorsSayWhatHappened(t *testing.T) {
	for want, e := range map[string]*protocol.ItemError{
		"item 3: failed: no such file": {Index: 3, Kind: protocol.KindFailed, Message: "no such file"},
		"item 0: panic":                {Kind: protocol.KindPanicked},
		`item 1: crashed: process ended by SIGSEGV; stderr: "last \"words\""`: {
			Index: 1, Kind: protocol.KindCrashed, Message: "process ended by SIGSEGV", Stderr: []string{"first", `last "words"`},
		},
	} {
		if got := e.Error(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

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

func TestBound(t *testing.T) {
	const n = 100
	for name, c := range map[string]struct {
		in, want string
	}{
		"short":                 {"short", "short"},
		"exactly":               {strings.Repeat("a", n), strings.Repeat("a", n)},
		"one too long":          {strings.Repeat("a", n+1), strings.Repeat("a", 62) + " … (39 bytes cut)"},
		"far too long":          {strings.Repeat("a", 1<<20), strings.Repeat("a", 62) + " … (1048514 bytes cut)"},
		"cut inside of a rune":  {strings.Repeat("a", 61) + strings.Repeat("€", 50), strings.Repeat("a", 61) + " … (150 bytes cut)"},
		"no UTF-8":              {"a\xffb", "a\uFFFDb"},
		"no UTF-8 and too long": {strings.Repeat("\xff", n+1), "\uFFFD … (98 bytes cut)"},
		"grown by being mended": {strings.Repeat("a\xff", n/2), strings.Repeat("a\uFFFD", 15) + "a" + " … (39 bytes cut)"},
	} {
		t.Run(name, func(t *testing.T) {
			got := bound.Text(c.in, n)
			if len(got) > n || !utf8.ValidString(got) {
				t.Errorf("Bound to %d bytes: got %d bytes, valid UTF-8: %v", n, len(got), utf8.ValidString(got))
			}
			if got != c.want {
				t.Errorf("bound.Text(%.20q…): got %q, want %q", c.in, got, c.want)
			}
			if again := bound.Text(got, n); again != got {
				t.Errorf("bounding it again: got %q, want no change", again)
			}
		})
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
		if errorOf[e.Kind] == nil || e.Offset < 0 || e.Size < 0 || len(e.Message) > wire.MaxMessageText || len(e.Stack) > wire.MaxStackText || !utf8.ValidString(e.Message+e.Stack) {
			t.Fatalf("got %+v, want a known kind, no negative numbers and bounded texts", e)
		}
		if again := wire.ErrorFromProto(wire.ErrorToProto(e, 0)); !cmp.Equal(again, e) {
			t.Fatalf("sent on it changed: %s", cmp.Diff(e, again))
		}
	})
}
