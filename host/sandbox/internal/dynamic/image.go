package dynamic

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
)

// Limits on what is read of one file.
const (
	maxHeaders = 64 << 10 // bytes of program headers; the kernel has the same limit (fs/binfmt_elf.c)
	maxPath    = 4096     // bytes of a name
	maxDynamic = 64 << 10 // bytes of the dynamic segment
	maxFolders = 16 << 10 // bytes of a list of folders

	// MostNeeded is how many libraries a file may name.
	MostNeeded = 256
)

// ErrForeign says that a file is not a little-endian 64-bit ELF file.
var ErrForeign = errors.New("it is no ELF file of 64 bits, lowest byte first")

// An Image holds what a program or library says about how to load it.
type Image struct {
	Machine     elf.Machine
	Type        elf.Type
	Interpreter string   // path of its loader, empty if it has none
	Needed      []string // names of its libraries (DT_NEEDED)
	RPath       []string // folders of DT_RPATH, with variables unexpanded
	RunPath     []string // folders of DT_RUNPATH, with variables unexpanded
	Program     bool     // it has the flag of a program (DF_1_PIE), although its type is that of a library
}

// Library reports whether a loader would load the file as a library.
func (m *Image) Library() bool { return m.Type == elf.ET_DYN && !m.Program }

// Read reads the headers of an ELF file. It returns [ErrForeign] for other files.
func Read(r io.ReaderAt) (*Image, error) {
	var head elf.Header64
	if err := read(r, 0, &head); err != nil || string(head.Ident[:4]) != elf.ELFMAG {
		return nil, ErrForeign
	}
	if elf.Class(head.Ident[elf.EI_CLASS]) != elf.ELFCLASS64 || elf.Data(head.Ident[elf.EI_DATA]) != elf.ELFDATA2LSB {
		return nil, ErrForeign
	}
	var one elf.Prog64
	size := binary.Size(one)
	if int(head.Phentsize) != size || int(head.Phnum)*size > maxHeaders {
		return nil, fmt.Errorf("it has %d program headers of %d bytes, want at most %d bytes in all", head.Phnum, head.Phentsize, maxHeaders)
	}
	segments := make([]elf.Prog64, head.Phnum)
	if err := read(r, head.Phoff, segments); err != nil {
		return nil, fmt.Errorf("program headers: %w", err)
	}
	m := &Image{Machine: elf.Machine(head.Machine), Type: elf.Type(head.Type)}
	for _, s := range segments {
		var err error
		switch elf.ProgType(s.Type) {
		case elf.PT_INTERP:
			if m.Interpreter == "" { // the kernel uses the first one
				m.Interpreter, err = word(r, s.Off, min(s.Filesz, maxPath))
			}
		case elf.PT_DYNAMIC:
			err = m.dynamic(r, segments, s)
		}
		if err != nil {
			return nil, err
		}
	}
	return m, nil
}

// dynamic reads the libraries and folders from the dynamic segment.
func (m *Image) dynamic(r io.ReaderAt, segments []elf.Prog64, s elf.Prog64) error {
	if s.Filesz > maxDynamic {
		return fmt.Errorf("its dynamic segment has %d bytes, the limit is %d", s.Filesz, maxDynamic)
	}
	entries := make([]elf.Dyn64, s.Filesz/uint64(binary.Size(elf.Dyn64{})))
	if err := read(r, s.Off, entries); err != nil {
		return fmt.Errorf("dynamic segment: %w", err)
	}
	var table, size uint64
	for i, e := range entries {
		switch elf.DynTag(e.Tag) {
		case elf.DT_NULL:
			entries = entries[:i]
		case elf.DT_STRTAB:
			table = e.Val
		case elf.DT_STRSZ:
			size = e.Val
		case elf.DT_FLAGS_1:
			m.Program = elf.DynFlag1(e.Val)&elf.DF_1_PIE != 0
		}
		if i >= len(entries) {
			break
		}
	}
	texts, there := place(segments, table)
	for _, e := range entries {
		tag := elf.DynTag(e.Tag)
		if tag != elf.DT_NEEDED && tag != elf.DT_RPATH && tag != elf.DT_RUNPATH {
			continue
		}
		most := uint64(maxPath)
		if tag != elf.DT_NEEDED {
			most = maxFolders
		}
		if !there || e.Val >= size || texts > math.MaxInt64-size {
			return errors.New("a name is not in its table of names")
		}
		text, err := word(r, texts+e.Val, min(most, size-e.Val))
		if err != nil {
			return err
		}
		switch tag {
		case elf.DT_NEEDED:
			if len(m.Needed) == MostNeeded {
				return fmt.Errorf("it names more than %d libraries, which is the limit", MostNeeded)
			}
			m.Needed = append(m.Needed, text)
		case elf.DT_RPATH:
			m.RPath = append(m.RPath, strings.Split(text, ":")...)
		case elf.DT_RUNPATH:
			m.RunPath = append(m.RunPath, strings.Split(text, ":")...)
		}
	}
	return nil
}

// place returns the file offset of the data that is loaded at an address, and whether there is any.
func place(segments []elf.Prog64, address uint64) (offset uint64, there bool) {
	for _, s := range segments {
		if elf.ProgType(s.Type) == elf.PT_LOAD && address >= s.Vaddr && address-s.Vaddr < s.Filesz {
			return s.Off + (address - s.Vaddr), true
		}
	}
	return 0, false
}

// word reads a zero-terminated text. It returns an error if there is no zero within most bytes.
func word(r io.ReaderAt, at, most uint64) (string, error) {
	if at > math.MaxInt64-most {
		return "", errors.New("a name lies behind the end of the file")
	}
	text := make([]byte, most)
	n, err := r.ReadAt(text, int64(at))
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	end := bytes.IndexByte(text[:n], 0)
	if end < 0 {
		return "", fmt.Errorf("a name does not end within %d bytes", most)
	}
	return string(text[:end]), nil
}

func read(r io.ReaderAt, at uint64, into any) error {
	size := binary.Size(into)
	if at > math.MaxInt64-uint64(size) {
		return io.ErrUnexpectedEOF
	}
	return binary.Read(io.NewSectionReader(r, int64(at), int64(size)), binary.LittleEndian, into)
}
