package main

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestCountRanges(t *testing.T) {
	for list, want := range map[string]int{"0": 1, "0-3": 4, "0-3,8,10-11": 7, "": 0, "x": 0, "3-1": 0} {
		if got := countRanges(list); got != want {
			t.Errorf("%q: got %d, want %d", list, got, want)
		}
	}
}

func TestLimitsOfAllGroupsAboveCount(t *testing.T) {
	mount := t.TempDir()
	inner := filepath.Join(mount, "outer", "inner")
	if err := os.MkdirAll(inner, 0o755); err != nil {
		t.Fatal(err)
	}
	for dir, limit := range map[string]string{filepath.Dir(mount): "1", mount: "max", filepath.Dir(inner): "4096\n", inner: "8192\n"} {
		if err := os.WriteFile(filepath.Join(dir, "memory.max"), []byte(limit), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	g := cgroup{mount: mount, dir: inner}
	if got, want := g.values("memory.max"), []string{"8192", "4096", "max"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
