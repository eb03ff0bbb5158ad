package wire_test

import (
	"strings"
	"testing"

	"github.com/parhost/parhost/internal/wire"
	"github.com/parhost/parhost/internal/wire/workerpb"
)

func TestAManifestIsBounded(t *testing.T) {
	long := func(n int) string { return strings.Repeat("x", n) }
	deep := func(n int) string {
		return strings.Repeat(`{"not":`, n-1) + `{"const":"]}\\\"{{["}` + strings.Repeat("}", n-1)
	}
	for name, c := range map[string]struct {
		change func(m *workerpb.Manifest)
		says   string
	}{
		"all that is allowed": {change: func(m *workerpb.Manifest) {
			m.Name, m.Version, m.Description, m.Threads = long(128), long(256), long(4096), 4096
			m.ItemSchema, m.Examples = deep(64), make([][]byte, 1000)
			m.Examples[0] = []byte(long(256 << 10))
		}},
		"no name":       {func(m *workerpb.Manifest) { m.Name = "" }, "the name is empty"},
		"a long name":   {func(m *workerpb.Manifest) { m.Name = long(129) }, "the name has 129 bytes, the limit is 128"},
		"no such name":  {func(m *workerpb.Manifest) { m.Name = "a b" }, `name "a b": want letters`},
		"version":       {func(m *workerpb.Manifest) { m.Version = long(257) }, "the version has 257 bytes, the limit is 256"},
		"description":   {func(m *workerpb.Manifest) { m.Description = long(4097) }, "the description has 4097 bytes, the limit is 4096"},
		"SDK":           {func(m *workerpb.Manifest) { m.Sdk = long(257) }, "the SDK has 257 bytes, the limit is 256"},
		"mode":          {func(m *workerpb.Manifest) { m.Prefer = long(257) }, "the preferred mode has 257 bytes, the limit is 256"},
		"a long kind":   {func(m *workerpb.Manifest) { m.ItemKind = "proto:" + long(251) }, "the item kind has 257 bytes, the limit is 256"},
		"no such kind":  {func(m *workerpb.Manifest) { m.ResultKind = long(256) }, `result kind "` + long(100) + `" is not one`},
		"a long schema": {func(m *workerpb.Manifest) { m.ResultSchema = long(256<<10 + 1) }, "the result schema has 262145 bytes, the limit is 262144"},
		"a deep schema": {func(m *workerpb.Manifest) { m.ResultSchema = deep(65) }, "the result schema is 65 levels deep, the limit is 64"},
		"examples":      {func(m *workerpb.Manifest) { m.Examples = make([][]byte, 1001) }, "1001 examples, the limit is 1000"},
		"an example":    {func(m *workerpb.Manifest) { m.Examples = [][]byte{{'1'}, make([]byte, 256<<10+1)} }, "example 1 has 262145 bytes, the limit is 262144"},
		"threads":       {func(m *workerpb.Manifest) { m.Threads = 4097 }, "4097 threads, the limit is 4096"},
		"needs":         {func(m *workerpb.Manifest) { m.Needs = &workerpb.Needs{Read: []string{"a"}} }, `path "a"`},
	} {
		t.Run(name, func(t *testing.T) {
			m := &workerpb.Manifest{Name: "x", ItemKind: "json", ResultKind: "json"}
			c.change(m)
			err := wire.CheckManifest(m)
			if c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
				t.Errorf("got %v, want %q", err, c.says)
			}
		})
	}
}
