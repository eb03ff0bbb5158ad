package wire_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/parhost/parhost/internal/wire"
	"github.com/parhost/parhost/internal/wire/workerpb"
)

func TestCheckNeeds(t *testing.T) {
	root, err := filepath.Abs(string(filepath.Separator))
	if err != nil {
		t.Fatal(err)
	}
	file := func(name string) string { return filepath.Join(root, name) }
	many := func(n int) []string {
		var paths []string
		for range n {
			paths = append(paths, file("a"))
		}
		return paths
	}
	for name, c := range map[string]struct {
		needs *workerpb.Needs
		want  string // part of the error; empty if there must be none
	}{
		"none":               {nil, ""},
		"all":                {&workerpb.Needs{Network: true, Processes: true, Read: []string{file("models of ours")}, Write: many(15), MemoryBytes: 1 << 62}, ""},
		"the longest":        {&workerpb.Needs{Read: []string{root + strings.Repeat("x", 256-len(root))}}, ""},
		"too many":           {&workerpb.Needs{Read: many(9), Write: many(8)}, "17 paths, the limit is 16"},
		"too long":           {&workerpb.Needs{Write: []string{root + strings.Repeat("x", 257-len(root))}}, "257 bytes, the limit is 256"},
		"relative":           {&workerpb.Needs{Read: []string{"models"}}, `path "models"`},
		"empty":              {&workerpb.Needs{Read: []string{""}}, `path ""`},
		"a detour":           {&workerpb.Needs{Read: []string{root + "a" + string(filepath.Separator) + ".." + string(filepath.Separator) + "b"}}, "shortest form"},
		"a line break":       {&workerpb.Needs{Write: []string{file("a\nb")}}, "cannot be shown"},
		"an escape":          {&workerpb.Needs{Write: []string{file("a\x1b[2J")}}, "cannot be shown"},
		"a colon":            {&workerpb.Needs{Read: []string{file(":" + string(filepath.Separator) + "x")}}, "has a colon"},
		"a reversal":         {&workerpb.Needs{Read: []string{file("a\u202eb")}}, "cannot be shown"},
		"too much of memory": {&workerpb.Needs{MemoryBytes: 1<<62 + 1}, "bytes of memory"},
	} {
		err := wire.CheckNeeds(c.needs)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}
