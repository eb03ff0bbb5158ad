package dynamic_test

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/parhost/parhost/host/sandbox/internal/dynamic"
)

// program returns an ELF file as a linker would write it. It names a loader, two libraries and folders.
func program(change func(h *elf.Header64, p []elf.Prog64, d []elf.Dyn64)) []byte {
	const strings = "\x00libone.so.1\x00libtwo.so\x00$ORIGIN/../lib:/opt/lib\x00/old\x00"
	const loader = "/lib64/loader\x00"
	at := func(what string) uint64 { return uint64(bytes.Index([]byte(strings), []byte(what))) }
	const heads, begin = 64, 64 + 3*56
	d := []elf.Dyn64{
		{Tag: int64(elf.DT_NEEDED), Val: at("libone")},
		{Tag: int64(elf.DT_NEEDED), Val: at("libtwo")},
		{Tag: int64(elf.DT_RUNPATH), Val: at("$ORIGIN")},
		{Tag: int64(elf.DT_RPATH), Val: at("/old")},
		{Tag: int64(elf.DT_STRTAB), Val: 0x400000},
		{Tag: int64(elf.DT_STRSZ), Val: uint64(len(strings))},
		{Tag: int64(elf.DT_FLAGS_1), Val: uint64(elf.DF_1_PIE)},
		{},
		{Tag: int64(elf.DT_NEEDED), Val: 1 << 40},
	}
	dynamicBytes := uint64(len(d) * 16)
	h := elf.Header64{Type: uint16(elf.ET_DYN), Machine: uint16(elf.EM_X86_64), Phoff: heads, Phentsize: 56, Phnum: 3}
	copy(h.Ident[:], elf.ELFMAG+"\x02\x01\x01")
	p := []elf.Prog64{
		{Type: uint32(elf.PT_INTERP), Off: begin, Filesz: uint64(len(loader))},
		{Type: uint32(elf.PT_LOAD), Off: begin + uint64(len(loader)), Vaddr: 0x400000, Filesz: uint64(len(strings))},
		{Type: uint32(elf.PT_DYNAMIC), Off: begin + uint64(len(loader)+len(strings)), Filesz: dynamicBytes},
	}
	if change != nil {
		change(&h, p, d)
	}
	var b bytes.Buffer
	for _, part := range []any{h, p, []byte(loader), []byte(strings), d} {
		if err := binary.Write(&b, binary.LittleEndian, part); err != nil {
			panic(err)
		}
	}
	return b.Bytes()
}

func TestReadNamesLoaderAndLibraries(t *testing.T) {
	got, err := dynamic.Read(bytes.NewReader(program(nil)))
	if err != nil {
		t.Fatal(err)
	}
	want := &dynamic.Image{
		Machine: elf.EM_X86_64, Type: elf.ET_DYN, Interpreter: "/lib64/loader", Needed: []string{"libone.so.1", "libtwo.so"},
		RunPath: []string{"$ORIGIN/../lib", "/opt/lib"}, RPath: []string{"/old"}, Program: true,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got.Library() {
		t.Error("a program counts as a library")
	}
}

// A malformed file is refused quickly, and little of it is read.
func TestReadIsBounded(t *testing.T) {
	for name, change := range map[string]func(h *elf.Header64, p []elf.Prog64, d []elf.Dyn64){
		"32 bits":                    func(h *elf.Header64, _ []elf.Prog64, _ []elf.Dyn64) { h.Ident[elf.EI_CLASS] = 1 },
		"no magic":                   func(h *elf.Header64, _ []elf.Prog64, _ []elf.Dyn64) { h.Ident[0] = '#' },
		"too many headers":           func(h *elf.Header64, _ []elf.Prog64, _ []elf.Dyn64) { h.Phnum = math.MaxUint16 },
		"headers behind the end":     func(h *elf.Header64, _ []elf.Prog64, _ []elf.Dyn64) { h.Phoff = math.MaxUint64 - 8 },
		"a loader behind the end":    func(_ *elf.Header64, p []elf.Prog64, _ []elf.Dyn64) { p[0].Off = math.MaxUint64 },
		"a loader without end":       func(_ *elf.Header64, p []elf.Prog64, _ []elf.Dyn64) { p[0].Filesz = 3 },
		"a dynamic segment of 1 TiB": func(_ *elf.Header64, p []elf.Prog64, _ []elf.Dyn64) { p[2].Filesz = 1 << 40 },
		"a name behind the table":    func(_ *elf.Header64, _ []elf.Prog64, d []elf.Dyn64) { d[0].Val = 1 << 40 },
		"a table nowhere":            func(_ *elf.Header64, _ []elf.Prog64, d []elf.Dyn64) { d[4].Val = 1 },
		"a table of 16 EiB": func(_ *elf.Header64, _ []elf.Prog64, d []elf.Dyn64) {
			d[5].Val, d[0].Val = math.MaxUint64, math.MaxUint64-1
		},
		"a dynamic segment that is gone": func(_ *elf.Header64, p []elf.Prog64, _ []elf.Dyn64) { p[2].Off = 1 << 50 },
	} {
		if got, err := dynamic.Read(bytes.NewReader(program(change))); err == nil {
			t.Errorf("%s: got %+v, want an error", name, got)
		}
	}
}

// Read and debug/elf agree on the programs of this machine.
func TestReadAgreesWithDebugELF(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the system's programs are of another kind")
	}
	names, _ := filepath.Glob("/usr/bin/[a-d]*") // the pattern is well formed
	read := 0
	for _, name := range names {
		image, err := elf.Open(name)
		if err != nil || image.Class != elf.ELFCLASS64 {
			continue
		}
		needed, _ := image.ImportedLibraries()
		_ = image.Close()
		f, err := os.Open(name)
		if err != nil {
			continue
		}
		got, err := dynamic.Read(f)
		_ = f.Close()
		if err != nil || !slices.Equal(got.Needed, needed) || len(needed) > 0 != (got.Interpreter != "") {
			t.Errorf("%s: got %+v and %v, want the libraries %v", name, got, err, needed)
		}
		read++
	}
	t.Logf("%d programs", read)
}

// cache returns a cache as ldconfig writes it, after a table in the old format if old is set.
func cache(old bool, libs ...[2]string) []byte {
	var names bytes.Buffer
	head := make([]byte, 48, 48+24*len(libs))
	copy(head, "glibc-ld.so.cache1.1")
	binary.LittleEndian.PutUint32(head[20:], uint32(len(libs)))
	begin := 48 + 24*len(libs)
	for _, lib := range libs {
		key := begin + names.Len()
		names.WriteString(lib[0] + "\x00")
		value := begin + names.Len()
		names.WriteString(lib[1] + "\x00")
		for _, word := range []uint32{0x303, uint32(key), uint32(value), 0, 0, 0} {
			head = binary.LittleEndian.AppendUint32(head, word)
		}
	}
	text := append(head, names.Bytes()...)
	if old {
		table := binary.LittleEndian.AppendUint32([]byte("ld.so-1.7.0\x00"), 1)
		text = append(append(table, make([]byte, 12+4)...), text...) // one entry, and padding to a multiple of 8
	}
	return text
}

func TestCachedFindsLibraries(t *testing.T) {
	for _, old := range []bool{false, true} {
		text := cache(old, [2]string{"liba.so", "/x/hwcaps/liba.so"}, [2]string{"liba.so.1", "/x/liba.so.1"}, [2]string{"liba.so", "/x/liba.so"}, [2]string{"liba.so", "relative"})
		if got, want := dynamic.Cached(text, "liba.so"), []string{"/x/hwcaps/liba.so", "/x/liba.so"}; !slices.Equal(got, want) {
			t.Errorf("old table %v: got %q, want %q", old, got, want)
		}
		if got := dynamic.Cached(text, "libb.so"); got != nil {
			t.Errorf("a library that is not there: got %q", got)
		}
	}
	out, err := exec.Command("ldconfig", "-p").Output()
	text, err2 := os.ReadFile(dynamic.CacheName)
	if err != nil || err2 != nil {
		t.Skipf("no cache here: %v, %v", err, err2)
	}
	for line := range strings.Lines(string(out)) {
		name, place, ok := strings.Cut(strings.TrimSpace(line), " => ")
		if name, _, _ = strings.Cut(name, " "); ok && !slices.Contains(dynamic.Cached(text, name), place) {
			t.Errorf("%s: got %q, want %s among them", name, dynamic.Cached(text, name), place)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add(program(nil))
	f.Add([]byte(elf.ELFMAG))
	f.Fuzz(func(t *testing.T, file []byte) {
		m, err := dynamic.Read(bytes.NewReader(file))
		if err != nil {
			return
		}
		if len(m.Needed) > dynamic.MostNeeded || len(m.Interpreter) > len(file) || strings.ContainsRune(m.Interpreter+strings.Join(m.Needed, ""), 0) {
			t.Errorf("got %+v", m)
		}
	})
}

func FuzzCached(f *testing.F) {
	f.Add(cache(false, [2]string{"liba.so", "/x/liba.so"}), "liba.so")
	f.Add(cache(true, [2]string{"liba.so", "/x/liba.so"}), "liba.so")
	f.Fuzz(func(t *testing.T, text []byte, name string) {
		for _, place := range dynamic.Cached(text, name) {
			if !filepath.IsAbs(place) && runtime.GOOS != "windows" || strings.ContainsRune(place, 0) {
				t.Errorf("got %q", place)
			}
		}
	})
}
