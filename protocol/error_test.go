package protocol_test

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"testing"

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

// A cause or kind that is declared but not listed would make records that cannot be read back.
func TestEachCauseAndKindThatIsDeclaredIsListed(t *testing.T) {
	found := 0
	for _, path := range []string{"error.go"} {
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
