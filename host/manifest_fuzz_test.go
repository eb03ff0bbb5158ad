package host

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	"github.com/parhost/parhost/host/internal/process"
	"github.com/parhost/parhost/internal/wire/workerpb"
)

// FuzzManifest gives the host whatever a plugin may say of itself. It is refused, or becomes a manifest that can be written down, and
// whose needs can be shown as words of a command line.
func FuzzManifest(f *testing.F) {
	for _, m := range []*workerpb.Manifest{
		{Name: "x", ItemKind: "json", ResultKind: "float64", Examples: [][]byte{[]byte("1"), []byte("{")}, ItemSchema: "{}", ResultSchema: "{", Threads: 1 << 12, ItemTimeNs: 1 << 63},
		{Name: "x", ItemKind: "json", ResultKind: "json", Examples: [][]byte{[]byte("\"\xff\""), []byte("{\n\"a\": 1}")}},
		{Name: "x", ItemKind: "json", ResultKind: "json", Needs: &workerpb.Needs{Network: true, Read: []string{"/a b", "/etc"}, Write: []string{"/srv"}, MemoryBytes: 1 << 62}},
		{Name: "x", ItemKind: "json", ResultKind: "json", Needs: &workerpb.Needs{Read: []string{"/a/../b"}, Write: []string{"/\n"}, MemoryBytes: 1 << 63}},
	} {
		bytes, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(bytes)
	}
	f.Fuzz(func(t *testing.T, bytes []byte) {
		var pb workerpb.Manifest
		if proto.Unmarshal(bytes, &pb) != nil || process.CheckManifest(&pb) != nil {
			return
		}
		m := manifestOf(&pb)
		if text, err := json.Marshal(m); err != nil || !utf8.Valid(text) {
			t.Fatalf("a manifest that passed is written as %q, %v, want JSON in UTF-8", text, err)
		}
		if m.Threads < 1 || m.ItemTime < 0 || m.Needs.MemoryBytes < 0 {
			t.Errorf("got %d threads, %v for an item, %d bytes; want no number below its least", m.Threads, m.ItemTime, m.Needs.MemoryBytes)
		}
		paths := slices.Concat(m.Needs.Read, m.Needs.Write)
		size := 0
		for _, p := range paths {
			size += len(p)
			if !filepath.IsAbs(p) || strings.ContainsFunc(p, func(r rune) bool { return !unicode.IsPrint(r) }) {
				t.Errorf("got the path %q among the needs, want an absolute one that can be shown", p)
			}
		}
		if size > 4<<10 {
			t.Errorf("got %d bytes of paths among the needs, want no more than a screen takes", size)
		}
	})
}
