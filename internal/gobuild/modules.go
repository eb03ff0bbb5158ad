package gobuild

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"

	"github.com/parhost/parhost/internal/plain"
)

// maxModuleBytes is the largest size of a go.mod, go.work or go.sum file that is read. It is also Go's limit for a go.mod file that it downloads.
const maxModuleBytes = 16 << 20

// allowModules grants the files that list modules and versions: those of the main modules, the go.mod of each folder that replaces a module, and
// the files in the module cache for the versions that go.sum lists.
//
// A stranger wrote these files. So allowModules parses them with Go's own parser, and takes paths and versions only from where the go command takes
// them. A line that the parser does not know grants nothing; if the build needs it, the build reports the file that it cannot open.
func (s *sources) allowModules(ctx context.Context) error {
	cache := s.env.values["GOMODCACHE"]
	s.grants.allow(list, cache)
	mains := []string{s.env.values["GOMOD"]}
	if work := s.env.values["GOWORK"]; work != "" && work != "off" {
		used, err := s.allowWorkspace(ctx, work)
		if err != nil {
			return err
		}
		mains = append(mains, used...)
	}
	for _, p := range s.packages {
		switch m := p.Module; {
		case m == nil:
		case m.cached():
			s.grants.allowFile(m.GoMod, cache)
		case m.Main: // the -modfile flag can change the name of a main module's go.mod, so GoMod is read below
			s.grants.allowFolder(list, m.Dir, m.Dir)
			mains = append(mains, m.GoMod)
		default:
			s.grants.allowFolder(list, m.Dir, m.Dir)
		}
	}
	seen := map[string]bool{"": true, os.DevNull: true}
	for _, file := range mains {
		if seen[file] {
			continue
		}
		seen[file] = true
		if err := s.allowMain(ctx, file); err != nil {
			return err
		}
	}
	return nil
}

// allowWorkspace grants the files of a go.work, and returns the go.mod files of the modules that the workspace uses.
func (s *sources) allowWorkspace(ctx context.Context, file string) (used []string, err error) {
	text, err := s.allowModuleFile(ctx, file, file+".sum")
	if err != nil {
		return nil, err
	}
	folder := filepath.Dir(file)
	if work, err := modfile.ParseWork(file, text, nil); err == nil {
		if err := s.allowReplacements(ctx, folder, work.Replace); err != nil {
			return nil, err
		}
		for _, use := range work.Use {
			used = append(used, filepath.Join(within(folder, use.Path), "go.mod"))
		}
	}
	return used, nil
}

// allowMain grants the files of a main module and of its replacements. Go ignores the replace lines of all other modules.
func (s *sources) allowMain(ctx context.Context, file string) error {
	text, err := s.allowModuleFile(ctx, file, strings.TrimSuffix(file, filepath.Ext(file))+".sum")
	if err != nil {
		return err
	}
	if mod, err := modfile.Parse(file, text, nil); err == nil {
		return s.allowReplacements(ctx, filepath.Dir(file), mod.Replace)
	}
	return nil
}

// allowModuleFile grants a go.mod or go.work and returns its text. It also grants the sums file, vendor/modules.txt, and the module cache's files
// for the versions in the sums file.
func (s *sources) allowModuleFile(ctx context.Context, file, sums string) ([]byte, error) {
	folder := filepath.Dir(file)
	for _, path := range []string{file, sums, filepath.Join(folder, "vendor", "modules.txt")} {
		s.grants.allowFile(path, folder)
	}
	versions, err := readModuleFile(sums)
	if err != nil {
		return nil, err
	}
	if downloads, err := filepath.EvalSymlinks(filepath.Join(s.env.values["GOMODCACHE"], "cache", "download")); err == nil {
		for line := range strings.Lines(string(versions)) {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			if name, ok := versionName(line); ok {
				for _, extension := range []string{".mod", ".info", ".ziphash"} {
					s.grants.files[filepath.Join(downloads, name+extension)] = true
				}
			}
		}
	}
	return readModuleFile(file)
}

// checkModuleFiles returns an error if a module file of the folder, or of a folder above it, is not a regular file or is too large. The go command
// reads these files before it reports where they are: it would block on a pipe, and read a device without end.
func checkModuleFiles(dir string) error {
	for {
		for _, name := range moduleFiles {
			path := filepath.Join(dir, name)
			info, err := os.Stat(path)
			switch {
			case err != nil || info.IsDir(): // the go command reports these itself
			case !info.Mode().IsRegular():
				return &plain.KindError{Path: path, Mode: info.Mode()}
			case info.Size() > maxModuleBytes:
				return &plain.SizeError{Path: path, Most: maxModuleBytes}
			}
		}
		above := filepath.Dir(dir)
		if above == dir {
			return nil
		}
		dir = above
	}
}

// readModuleFile reads a file. It returns nil without an error if the file is missing.
func readModuleFile(path string) ([]byte, error) {
	text, err := plain.Read(path, maxModuleBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return text, err
}

// allowReplacements grants the go.mod of each folder that replaces a module. A replacement that has a version lies in the module cache.
func (s *sources) allowReplacements(ctx context.Context, folder string, lines []*modfile.Replace) error {
	for _, line := range lines {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if line.New.Version == "" {
			replacement := within(folder, line.New.Path)
			s.grants.allowFile(filepath.Join(replacement, "go.mod"), replacement)
		}
	}
	return nil
}

// within resolves a path that a file in folder names: a relative path is relative to that folder.
func within(folder, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(folder, path)
}

// versionName returns the module cache's name, PATH/@v/VERSION, for the module version in a line of go.sum.
func versionName(line string) (name string, ok bool) {
	f := strings.Fields(line)
	if len(f) != 3 {
		return "", false
	}
	version := strings.TrimSuffix(f[1], "/go.mod")
	if module.Check(f[0], version) != nil {
		return "", false
	}
	path, err := module.EscapePath(f[0])
	if err != nil {
		return "", false
	}
	base, err := module.EscapeVersion(version)
	return filepath.Join(filepath.FromSlash(path), "@v", base), err == nil
}
