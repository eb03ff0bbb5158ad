package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestALargeLineOfAFileTakesItsSize(t *testing.T) {
	long, short := strings.Repeat("7", 4*largeLine+largeLine/3), "1"
	for name, c := range map[string]struct {
		text string
		want []string
	}{
		"between others":     {short + "\n" + long + "\n" + short + "\n" + long + "\n", []string{short, long, short, long}},
		"that is the only":   {long + "\n", []string{long}},
		"without a line end": {short + "\n" + long, []string{short, long}},
		"of another size":    {strings.Repeat("8", 5*largeLine/2) + "\n" + short + "\n", []string{strings.Repeat("8", 5*largeLine/2), short}},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "items")
			if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			o := &options{input: path, repeat: 2}
			s, err := openInput(nil, o)
			if err != nil {
				t.Fatal(err)
			}
			defer s.close()
			for i, want := range append(c.want, c.want...) {
				line, ok := s.supply.next()
				if !ok || string(line) != want {
					t.Fatalf("line %d: got %d bytes, want %d", i+1, len(line), len(want))
				}
				if got := cap(s.lines.block); len(line) >= 2*largeLine && got > len(line)+2 {
					t.Errorf("line %d of %d bytes: got a block of %d", i+1, len(line), got)
				}
			}
			if line, ok := s.supply.next(); ok || s.lines.failure() != nil {
				t.Errorf("behind the last line: got %d bytes and %v", len(line), s.lines.failure())
			}
		})
	}
}

func TestTheCollectorRunsWhereItIsCheap(t *testing.T) {
	const mib = 1 << 20
	for name, c := range map[string]struct {
		live, scanned uint64
		want          int
	}{
		"little memory":             {cheapHeap, mib, 100},
		"items of 62 MiB":           {320 * mib, mib, 100 * (32 + 1) / 320},
		"memory with pointers":      {320 * mib, 300 * mib, 100},
		"half of it":                {320 * mib, 160 * mib, 60},
		"more than pays to look at": {10 << 30, mib, leastGarbage},
	} {
		if got := collectPercent(c.live, c.scanned); got != c.want {
			t.Errorf("%s: got GOGC=%d, want %d", name, got, c.want)
		}
	}
}
