package rlimit_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/parhost/parhost/host/sandbox/internal/rlimit"
)

func TestASpecComesBackAsItWas(t *testing.T) {
	for _, want := range []*rlimit.Spec{{}, {Keep: 2}, {Keep: 5, Limits: []rlimit.Limit{{Resource: 1}, {Resource: 8, Value: 1<<64 - 1}}}} {
		got, err := rlimit.Parse(want.String())
		if err != nil {
			t.Errorf("%q: got the error %v", want, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", want, diff)
		}
	}
}

// Parse refuses all texts that String does not write, so a process that is taken for a stage by mistake does nothing.
func TestParseRefusesWhatNobodyWrote(t *testing.T) {
	for _, text := range []string{"", "a", "-1", "0 ", "0 1", "0 1=", "0 =1", "0 1=-1", "0 1=1 ", "0  1=1", "0 1=01", "+0", "0 1=18446744073709551616"} {
		if s, err := rlimit.Parse(text); err == nil {
			t.Errorf("%q: got %+v, want an error", text, s)
		}
	}
}
