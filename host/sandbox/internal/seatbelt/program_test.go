package seatbelt_test

import (
	"bytes"
	"debug/macho"
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/parhost/parhost/host/sandbox/internal/seatbelt"
)

// image returns an executable that consists of its header and of load commands: run paths and libraries.
func image(cpu macho.Cpu, runPaths, libraries []string) []byte {
	var loads bytes.Buffer
	le := binary.LittleEndian
	add := func(cmd uint32, head []uint32, text string) {
		offset := 8 + 4*len(head)
		size := (offset + len(text) + 8) &^ 7
		b := le.AppendUint32(le.AppendUint32(nil, cmd), uint32(size))
		head[0] = uint32(offset)
		for _, n := range head {
			b = le.AppendUint32(b, n)
		}
		loads.Write(append(append(b, text...), make([]byte, size-offset-len(text))...))
	}
	for _, p := range runPaths {
		add(0x8000001c, make([]uint32, 1), p) // LC_RPATH
	}
	for _, l := range libraries {
		add(0xc, make([]uint32, 4), l) // LC_LOAD_DYLIB
	}
	var b []byte
	for _, n := range []uint32{0xfeedfacf, uint32(cpu), 0, 2, uint32(len(runPaths) + len(libraries)), uint32(loads.Len()), 0, 0} {
		b = le.AppendUint32(b, n)
	}
	return append(b, loads.Bytes()...)
}

// fat returns an executable for several processors. Each part begins at a page.
func fat(parts ...[]byte) []byte {
	const page = 4096
	be := binary.BigEndian
	b := be.AppendUint32(be.AppendUint32(nil, 0xcafebabe), uint32(len(parts)))
	for i, p := range parts {
		for _, n := range []uint32{binary.LittleEndian.Uint32(p[4:]), 0, uint32(page * (i + 1)), uint32(len(p)), 12} {
			b = be.AppendUint32(b, n)
		}
	}
	for i, p := range parts {
		b = append(append(b, make([]byte, page*(i+1)-len(b))...), p...)
	}
	return b
}

func TestReadSaysWhatAProgramNeeds(t *testing.T) {
	libraries := []string{
		"/usr/lib/libSystem.B.dylib", "/System/Library/Frameworks/Security.framework/Security", "/opt/homebrew/lib/liba.dylib",
		"@executable_path/../lib/libb.dylib", "@rpath/libc.dylib", "@loader_path/libd.dylib", "@executable_pathology/x", "relative.dylib", "/usr/lib/../local/lib/libe.dylib",
	}
	arm := image(macho.CpuArm64, []string{"/usr/local/lib", "@loader_path/libs"}, libraries)
	want := [][]string{
		{"/opt/homebrew/lib/liba.dylib"},
		{"/p/lib/libb.dylib"},
		{"/usr/local/lib/libc.dylib", "/p/bin/libs/libc.dylib"},
		{"/p/bin/libd.dylib"},
		{"/usr/lib/../local/lib/libe.dylib"},
	}
	for name, c := range map[string]struct {
		file []byte
		want *seatbelt.Program // nil: Read must fail
	}{
		"executable":                {arm, &seatbelt.Program{Libraries: want}},
		"for two processors":        {fat(image(macho.CpuAmd64, nil, []string{"/x/y.dylib"}), arm), &seatbelt.Program{Libraries: want}},
		"for another processor":     {fat(image(macho.CpuAmd64, nil, nil)), nil},
		"needs the system alone":    {image(macho.CpuArm64, []string{"/usr/lib/swift"}, []string{"/usr/lib/libSystem.B.dylib", "@rpath/libswiftCore.dylib"}), &seatbelt.Program{}},
		"script":                    {[]byte("#! /usr/bin/env  python3 \nprint()\n"), &seatbelt.Program{Interpreter: []string{"/usr/bin/env", "python3"}}},
		"script of one line":        {[]byte("#!/bin/sh"), &seatbelt.Program{Interpreter: []string{"/bin/sh"}}},
		"script without a program":  {[]byte("#!\n/bin/sh"), nil},
		"script of a relative path": {[]byte("#!sh\n"), nil},
		"nothing":                   {nil, nil},
		"text":                      {[]byte("echo hello\n"), nil},
		"cut short":                 {arm[:100], nil},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := seatbelt.Read(bytes.NewReader(c.file), "/p/bin/plugin", macho.CpuArm64)
			if c.want == nil {
				if !errors.Is(err, seatbelt.ErrFormat) {
					t.Errorf("got %+v and the error %v, want ErrFormat", got, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("program differs (-want +got):\n%s", diff)
			}
		})
	}
}

// A program that Go links for macOS needs only libraries that a profile opens to every program.
func TestAGoProgramNeedsTheSystemAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "plugin")
	cmd := exec.Command("go", "build", "-o", path, "github.com/parhost/parhost/plugins/sqrt/parhost-plugin-sqrt")
	cmd.Env = append(os.Environ(), "GOOS=darwin", "GOARCH=arm64", "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got, err := seatbelt.Read(f, path, macho.CpuArm64)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&seatbelt.Program{}, got); diff != "" {
		t.Errorf("program differs (-want +got):\n%s", diff)
	}
	image, err := macho.NewFile(f)
	if err != nil {
		t.Fatal(err)
	}
	if all, err := image.ImportedLibraries(); err != nil || len(all) == 0 {
		t.Errorf("got the libraries %q and the error %v, want some of the system's: else this shows nothing", all, err)
	}
}

func FuzzRead(f *testing.F) {
	arm := image(macho.CpuArm64, []string{"@loader_path"}, []string{"@rpath/a.dylib"})
	for _, b := range [][]byte{arm, fat(image(macho.CpuAmd64, nil, nil), arm), []byte("#!/usr/bin/env python3\n"), []byte("#!"), nil} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := seatbelt.Read(bytes.NewReader(b), "/p/plugin", macho.CpuArm64)
		if err != nil {
			return
		}
		if len(p.Interpreter) > 0 && !filepath.IsAbs(p.Interpreter[0]) {
			t.Errorf("got the interpreter %q, want an absolute path", p.Interpreter)
		}
		for _, candidates := range p.Libraries {
			for _, c := range candidates {
				if !filepath.IsAbs(c) {
					t.Errorf("got the library %q, want an absolute path", c)
				}
			}
		}
	})
}

func TestHome(t *testing.T) {
	for file, want := range map[string]string{
		"/opt/homebrew/Cellar/python@3.13/3.13.1/bin/python3.13":            "/opt/homebrew",
		"/usr/local/lib/liba.dylib":                                         "/usr/local",
		"/Library/Frameworks/Python.framework/Versions/3.13/bin/python3.13": "/Library/Frameworks/Python.framework/Versions/3.13",
		"/usr/bin/perl":    "/usr/bin",
		"/bin/sh":          "/bin",
		"/Users/a/b/c.lib": "/Users/a/b",
	} {
		if got := seatbelt.Home(file); got != want {
			t.Errorf("Home(%q): got %q, want %q", file, got, want)
		}
	}
}
