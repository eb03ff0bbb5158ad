package seatbelt

import (
	"bufio"
	"debug/macho"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
)

// Program says what a file needs in order to be executed.
type Program struct {
	// Interpreter has the words after #! of a script; empty for other files.
	Interpreter []string
	// Libraries are the libraries that the file names outside of [System]. Each entry has all paths at which the linker looks, in its order.
	Libraries [][]string
}

// ErrFormat is the error of [Read] for a file that macOS cannot execute.
var ErrFormat = errors.New("neither a script nor an executable of this system")

// Read reads the program with path file. If it contains executables for several processors, Read uses the one for cpu.
func Read(r io.ReaderAt, file string, cpu macho.Cpu) (*Program, error) {
	start := bufio.NewReader(io.NewSectionReader(r, 0, 512)) // XNU reads no more of the first line (IMG_SHSIZE in bsd/sys/imgact.h)
	if mark, _ := start.Peek(2); string(mark) == "#!" {
		line, err := start.ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		words := strings.Fields(strings.TrimPrefix(line, "#!"))
		if len(words) == 0 || !path.IsAbs(words[0]) {
			return nil, fmt.Errorf("first line %q: %w", line, ErrFormat)
		}
		return &Program{Interpreter: words}, nil
	}
	image, err := open(r, cpu)
	if err != nil {
		return nil, err
	}
	return &Program{Libraries: libraries(image, path.Dir(file))}, nil
}

func open(r io.ReaderAt, cpu macho.Cpu) (*macho.File, error) {
	fat, err := macho.NewFatFile(r)
	if errors.Is(err, macho.ErrNotFat) {
		image, err := macho.NewFile(r)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrFormat, err)
		}
		return image, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	for _, a := range fat.Arches {
		if a.Cpu == cpu {
			return a.File, nil
		}
	}
	return nil, fmt.Errorf("%w: it has no part for %v", ErrFormat, cpu)
}

// libraries resolves the names of libraries as dyld(1) does.
func libraries(image *macho.File, folder string) [][]string {
	var runPaths []string
	var names []string
	for _, l := range image.Loads {
		switch l := l.(type) {
		case *macho.Rpath:
			runPaths = append(runPaths, beside(l.Path, folder))
		case *macho.Dylib:
			names = append(names, l.Name)
		}
	}
	var all [][]string
	for _, name := range names {
		candidates := []string{beside(name, folder)}
		if rest, ok := strings.CutPrefix(name, "@rpath/"); ok {
			candidates = nil
			for _, p := range runPaths {
				candidates = append(candidates, path.Join(p, rest))
			}
		}
		candidates = slices.DeleteFunc(candidates, func(c string) bool { return !path.IsAbs(c) })
		if len(candidates) > 0 && !slices.ContainsFunc(candidates, ofSystem) {
			all = append(all, candidates)
		}
	}
	return all
}

// beside replaces @executable_path and @loader_path with the folder of the executable. They are the same here, because the executable itself loads
// the library.
func beside(name, folder string) string {
	for _, mark := range []string{"@executable_path", "@loader_path"} {
		if rest, ok := strings.CutPrefix(name, mark); ok && (rest == "" || rest[0] == '/') {
			return path.Join(folder, rest)
		}
	}
	return name
}

func ofSystem(file string) bool {
	return slices.ContainsFunc(System, func(folder string) bool { return strings.HasPrefix(path.Clean(file), folder+"/") })
}

// Home returns the folder to open for a program or library. It usually contains everything that belongs to it.
func Home(file string) string {
	for _, all := range []string{"/opt/homebrew", "/opt/local", "/usr/local"} {
		if strings.HasPrefix(file, all+"/") {
			return all
		}
	}
	folder := path.Dir(file)
	above := path.Dir(folder)
	if path.Base(folder) == "bin" && above != "/" && above != "/usr" {
		return above // Python's lib lies beside its bin
	}
	return folder
}
