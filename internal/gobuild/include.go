package gobuild

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/scanner"

	"github.com/parhost/parhost/internal/plain"
)

// checkIncludes refuses assembly that includes files of other folders. It is for systems without Landlock, which confines the assembler on Linux.
func (s *sources) checkIncludes() error {
	for _, p := range s.packages {
		for _, name := range slices.Concat(p.SFiles, p.HFiles) {
			path := filepath.Join(p.Dir, name)
			included, err := includes(path)
			if err != nil {
				return err
			}
			for _, file := range included {
				_, err := os.Lstat(filepath.Join(p.Dir, file))
				simple := !strings.ContainsAny(file, `/\:`) && file != ".."
				if !simple || err == nil && !slices.Contains(p.HFiles, file) && !slices.Contains(p.SFiles, file) {
					return fmt.Errorf("%q, which %q includes, %w %q", file, path, ErrOutside, p.Dir)
				}
			}
		}
	}
	return nil
}

// includes returns the names in the #include lines of an assembly file. For a name that a macro makes it returns "..", which is no file's name. It
// scans the file as Go's assembler does (cmd/asm/internal/lex).
func includes(path string) ([]string, error) {
	f, err := plain.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	var s scanner.Scanner
	s.Init(f)
	s.Mode = scanner.ScanChars | scanner.ScanFloats | scanner.ScanIdents | scanner.ScanInts | scanner.ScanStrings | scanner.ScanComments | scanner.SkipComments
	s.Error = func(*scanner.Scanner, string) {} // the assembler reports errors of syntax
	var names []string
	for last := ""; ; last = s.TokenText() {
		switch token := s.Scan(); {
		case token == scanner.EOF:
			return names, nil
		case last == "include" && token == scanner.String:
			name, err := strconv.Unquote(s.TokenText())
			if err != nil {
				return nil, err
			}
			names = append(names, name)
		case last == "include":
			names = append(names, "..")
		}
	}
}
