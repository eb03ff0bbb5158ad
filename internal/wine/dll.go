package main

import (
	"bytes"
	"debug/pe"
	"encoding/binary"
)

// Sizes and places in the file and in memory.
const (
	headerBytes = 0x200
	pageBytes   = 0x1000
	signatureAt = 0x40
)

// exports is the export directory with which the DLL's only section begins (IMAGE_EXPORT_DIRECTORY). Places are offsets from the start of the image.
type exports struct {
	_               [3]uint32
	Name            uint32
	Base            uint32
	Functions       uint32
	Names           uint32
	FunctionsAt     uint32
	NamesAt         uint32
	OrdinalsAt      uint32
	Function        uint32 // from here on the tables, for one function
	FunctionName    uint32
	FunctionOrdinal uint16
}

// forwarder returns a DLL for amd64 without code. Its only function forwards to a function of another DLL (Microsoft's PE Format, .edata).
func forwarder(name, function, target string) []byte {
	at := func(offset int) uint32 { return uint32(pageBytes + offset) }
	begin := binary.Size(exports{})
	e := exports{
		Base: 1, Functions: 1, Names: 1, FunctionsAt: at(begin - 10), NamesAt: at(begin - 6), OrdinalsAt: at(begin - 2),
		Name: at(begin), FunctionName: at(begin + len(name) + 1), Function: at(begin + len(name) + 1 + len(function) + 1), // an address within the directory makes the function a forwarder
	}
	section := encode(&e)
	section = append(section, name+"\x00"+function+"\x00"+target+"\x00"...)

	optional := pe.OptionalHeader64{
		Magic: 0x20b, ImageBase: 0x180000000, SectionAlignment: pageBytes, FileAlignment: headerBytes,
		MajorOperatingSystemVersion: 6, MajorSubsystemVersion: 6, SizeOfImage: 2 * pageBytes, SizeOfHeaders: headerBytes,
		Subsystem: pe.IMAGE_SUBSYSTEM_WINDOWS_GUI, DllCharacteristics: pe.IMAGE_DLLCHARACTERISTICS_NX_COMPAT, NumberOfRvaAndSizes: 16,
	}
	optional.DataDirectory[pe.IMAGE_DIRECTORY_ENTRY_EXPORT] = pe.DataDirectory{VirtualAddress: pageBytes, Size: uint32(len(section))}
	header := pe.SectionHeader32{
		Name: [8]uint8{'.', 'e', 'd', 'a', 't', 'a'}, VirtualSize: uint32(len(section)), VirtualAddress: pageBytes,
		SizeOfRawData: headerBytes, PointerToRawData: headerBytes, Characteristics: pe.IMAGE_SCN_CNT_INITIALIZED_DATA | pe.IMAGE_SCN_MEM_READ,
	}
	var file bytes.Buffer
	pad := func(to int) { file.Write(make([]byte, to-file.Len())) }
	file.WriteString("MZ")
	pad(0x3c)
	file.WriteByte(signatureAt)
	pad(signatureAt)
	file.WriteString("PE\x00\x00")
	file.Write(encode(&pe.FileHeader{
		Machine: pe.IMAGE_FILE_MACHINE_AMD64, NumberOfSections: 1, SizeOfOptionalHeader: uint16(binary.Size(optional)),
		Characteristics: pe.IMAGE_FILE_EXECUTABLE_IMAGE | pe.IMAGE_FILE_LARGE_ADDRESS_AWARE | pe.IMAGE_FILE_DLL,
	}))
	file.Write(encode(&optional))
	file.Write(encode(&header))
	pad(headerBytes)
	file.Write(section)
	pad(2 * headerBytes)
	return file.Bytes()
}

// encode returns the bytes of a structure of fixed size in Windows' layout.
func encode(v any) []byte {
	var b bytes.Buffer
	_ = binary.Write(&b, binary.LittleEndian, v) // cannot fail: it writes to memory, and the type has a fixed size
	return b.Bytes()
}
