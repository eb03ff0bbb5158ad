package sandbox_test

import (
	"bytes"
	"errors"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/parhost/parhost/host/sandbox"
)

func notSupported(t *testing.T, what string, err error) {
	t.Helper()
	e, ok := errors.AsType[*sandbox.StageError](err)
	if !ok || !errors.Is(err, sandbox.ErrNotSupported) || e.Stage == "" || e.Hint == "" {
		t.Errorf("%s: got %v, want an error that matches ErrNotSupported, with a stage and a hint", what, err)
	}
}

// An invalid policy is refused, and the error names the field.
func TestPolicyNamesTheBadField(t *testing.T) {
	there := sandbox.Bind{Source: os.TempDir()}
	for want, policy := range map[string]sandbox.Policy{
		"Policy.Level":        {Level: 7},
		"Policy.MemoryBytes":  {MemoryBytes: 1},
		"Policy.CPUs":         {CPUs: math.NaN()},
		"Policy.PIDs":         {PIDs: -1},
		"Policy.TmpBytes":     {Level: sandbox.Strict, TmpBytes: 1},
		"Policy.OpenFiles":    {OpenFiles: 3},
		"Policy.FileBytes":    {FileBytes: -1},
		"Policy.UIDBase":      {Level: sandbox.Basic, UIDBase: -1},
		"Policy.CgroupParent": {CgroupParent: "a/../../b"},
		"Policy.ReadOnly":     {ReadOnly: []sandbox.Bind{{Source: "/usr"}}},
		"Policy.ReadOnly[0]":  {Level: sandbox.Basic, ReadOnly: []sandbox.Bind{{Source: "usr"}}},
		"Policy.ReadOnly[1]":  {Level: sandbox.Basic, ReadOnly: []sandbox.Bind{there, {Source: there.Source, Target: "/data"}}},
		"Policy.ReadWrite[0]": {Level: sandbox.Strict, ReadWrite: []sandbox.Bind{{Source: "/proc/1"}}},
		"Policy.ReadWrite[1]": {Level: sandbox.Strict, ReadWrite: []sandbox.Bind{there, {Source: there.Source, Target: "/dev/"}}},
	} {
		_, err := sandbox.Open(t.Context(), policy, "plugin", "")
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Open %+v: got %v, want an error that names %s", policy, err, want)
		}
	}
}

func TestLevelHasAName(t *testing.T) {
	for _, l := range []sandbox.Level{sandbox.Off, sandbox.Basic, sandbox.Strict} {
		text, err := l.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		var got sandbox.Level
		if err := got.UnmarshalText(text); err != nil || got != l {
			t.Errorf("%q: got %v and %v, want %v", text, got, err, l)
		}
	}
	var l sandbox.Level
	if err := l.UnmarshalText([]byte("paranoid")); err == nil {
		t.Error("paranoid: got no error")
	}
}

// Probe says for each level whether this machine supports it and, if not, what to change. Best returns the best supported level, and Open accepts it.
func TestProbeAgreesWithBestAndOpen(t *testing.T) {
	r, err := sandbox.Probe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	best, err := sandbox.Best(t.Context(), sandbox.Policy{})
	if err != nil || best != r.Best {
		t.Errorf("Best: got %v and %v, want %v as Probe says", best, err, r.Best)
	}
	var text bytes.Buffer
	if err := r.Write(&text); err != nil {
		t.Fatal(err)
	}
	t.Log("\n" + text.String())
	for i, l := range r.Levels {
		level := sandbox.Basic + sandbox.Level(i)
		if !strings.Contains(text.String(), l.Name) || !l.OK && l.Fact == "" {
			t.Errorf("got %+v in\n%s\nwant the level with a reason", l, text.String())
		}
		_, err := sandbox.Open(t.Context(), sandbox.Policy{Level: level}, "/nowhere/plugin", "")
		if !l.OK {
			notSupported(t, l.Name, err)
		} else if err == nil || !strings.Contains(err.Error(), "/nowhere/plugin") {
			t.Errorf("%s: got %v, want an error about the plugin alone", l.Name, err)
		}
	}
}
