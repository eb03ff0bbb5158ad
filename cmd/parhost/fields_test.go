package main

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/host/sandbox"
)

// flagless are the fields that the command's user cannot set. So no error about their values can occur.
var flagless = []string{"Eager", "Grace", "Inline", "BufferBytes", "Logger", "Observer", "UIDBase", "CgroupParent"}

func TestEachFieldOfTheLibraryIsAFlag(t *testing.T) {
	flags := newRoot(new(streams)).Flags()
	for _, of := range []reflect.Type{reflect.TypeFor[host.Config](), reflect.TypeFor[sandbox.Policy]()} {
		for f := range of.Fields() {
			if !f.IsExported() {
				continue
			}
			name := f.Name
			flag, known := flagsOf[name]
			if known == slices.Contains(flagless, name) {
				t.Errorf("%s.%s: want it in one of flagsOf and flagless", of.Name(), name)
			}
			if long, ok := strings.CutPrefix(flag, "--"); ok && flags.Lookup(long) == nil {
				t.Errorf("%s.%s: there is no flag %s", of.Name(), name, flag)
			}
		}
	}
}

func TestErrorsNameFlags(t *testing.T) {
	for text, want := range map[string]string{
		"item is 5 bytes, the limit is 4 (Config.MaxItemBytes)": "item is 5 bytes, the limit is 4 (--max-item-bytes)",
		"the limit is 9 (Config.Sandbox.PIDs)":                  "the limit is 9 (--pids)",
		"limit is 3 (Policy.PIDs)":                              "limit is 3 (--pids)",
		"no folder (Policy.ReadWrite[2])":                       "no folder (--rw)",
		"shown elsewhere (Policy.ReadOnly, Policy.ReadWrite)":   "shown elsewhere (--ro, --rw)",
		"Config.Workers: 0 workers can do nothing":              "--procs: 0 workers can do nothing",
		"Config.Surprise":                                       "Config.Surprise",
	} {
		if got := inFlags(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}
