package sandbox_test

import (
	"strings"
	"testing"

	"github.com/parhost/parhost/host/sandbox"
)

// notOnMac refuses what macOS cannot enforce, and says what is missing and that Linux has it. It accepts what macOS can enforce, and defaults that
// nobody asked for.
func TestMacRefusesWhatItCannotHold(t *testing.T) {
	for want, policy := range map[string]sandbox.Policy{
		"namespaces":          {Level: sandbox.Strict},
		"Policy.MemoryBytes":  {MemoryBytes: 1 << 30},
		"Policy.CPUs":         {Level: sandbox.Basic, CPUs: 1},
		"Policy.PIDs":         {Level: sandbox.Basic, PIDs: 1024},
		"Policy.TmpBytes":     {Level: sandbox.Basic, TmpBytes: 1 << 20},
		"Policy.UIDBase":      {Level: sandbox.Basic, UIDBase: 1000},
		"Policy.CgroupParent": {CgroupParent: "a"},
	} {
		err := sandbox.NotOnMac(&policy)
		notSupported(t, want, err)
		if err != nil && (!strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "Linux")) {
			t.Errorf("%+v: got %v, want an error that names %s and Linux", policy, err, want)
		}
	}
	for _, policy := range []sandbox.Policy{
		{},
		{OpenFiles: 64, FileBytes: 1 << 20},
		{Level: sandbox.Basic, AllowNet: true, AllowFork: true, ReadOnly: []sandbox.Bind{{Source: "/x"}}, OpenFiles: 64},
	} {
		if err := sandbox.NotOnMac(&policy); err != nil {
			t.Errorf("%+v: got the error %v", policy, err)
		}
	}
}
