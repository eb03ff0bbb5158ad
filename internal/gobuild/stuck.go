package gobuild

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/mod/modfile"

	"github.com/parhost/parhost/internal/plain"
)

// askPatiently runs a go command that reads the folder's packages, as ask does. The go command opens every file whose name is that of a source
// file: it would block on a pipe, and read a device without end. So if the command takes longer than quietTime, askPatiently looks for files that
// are not regular. If it finds one, it kills the command, and the error is a [*plain.KindError].
func (e *environ) askPatiently(ctx context.Context, env []string, args ...string) ([]byte, error) {
	ctx, end := context.WithCancelCause(ctx)
	var search sync.WaitGroup
	defer search.Wait()
	defer end(nil)
	search.Go(func() {
		select {
		case <-ctx.Done():
		case <-time.After(quietTime):
			if found := e.findSpecial(ctx); found != nil {
				end(found)
			}
		}
	})
	out, err := e.ask(ctx, env, args...)
	if found, ok := errors.AsType[*plain.KindError](context.Cause(ctx)); ok && err != nil {
		return nil, found
	}
	return out, err
}

// findSpecial searches the folders of modules for a file that the go command would open and that is not a regular file. It returns an error for the
// first such file, or nil.
func (e *environ) findSpecial(ctx context.Context) error {
	seen := map[string]bool{}
	for folders := e.moduleFolders(); len(folders) > 0 && ctx.Err() == nil; folders = folders[1:] {
		folder, err := filepath.EvalSymlinks(folders[0])
		if err != nil || seen[folder] {
			continue
		}
		seen[folder] = true
		entries, _ := os.ReadDir(folder) // ReadDir may return entries together with an error
		for _, entry := range entries {
			path := filepath.Join(folder, entry.Name())
			mode := entry.Type()
			if mode == fs.ModeSymlink {
				if info, err := os.Stat(path); err == nil {
					mode = info.Mode()
				}
			}
			switch {
			case mode.IsDir():
				folders = append(folders, path)
			case !mode.IsRegular() && mode.Type() != fs.ModeSymlink && isOpened(entry.Name()):
				return &plain.KindError{Path: path, Mode: mode}
			}
		}
	}
	return nil
}

// moduleFolders returns the folders of the local modules that a build reads: the main module, the modules that go.work lists, and the folders that
// replace modules. Modules in the module cache are not among them.
func (e *environ) moduleFolders() []string {
	folders := []string{e.dir}
	add := func(folder string, lines []*modfile.Replace) {
		for _, line := range lines {
			if line.New.Version == "" {
				folders = append(folders, within(folder, line.New.Path))
			}
		}
	}
	mains := []string{e.values["GOMOD"]}
	if file := e.values["GOWORK"]; filepath.IsAbs(file) {
		folder := filepath.Dir(file)
		folders = append(folders, filepath.Join(folder, "vendor"))
		text, _ := readModuleFile(file) // if it cannot be read, it lists no modules
		if work, err := modfile.ParseWork(file, text, nil); err == nil {
			add(folder, work.Replace)
			for _, use := range work.Use {
				mains = append(mains, filepath.Join(within(folder, use.Path), "go.mod"))
			}
		}
	}
	for _, file := range mains {
		if !filepath.IsAbs(file) || file == os.DevNull {
			continue
		}
		folder := filepath.Dir(file)
		folders = append(folders, folder)
		text, _ := readModuleFile(file)
		if mod, err := modfile.Parse(file, text, nil); err == nil {
			add(folder, mod.Replace)
		}
	}
	return folders
}

// moduleFiles are the names of files that list modules and their versions.
var moduleFiles = []string{"go.mod", "go.sum", "go.work", "go.work.sum", filepath.Join("vendor", "modules.txt")}

// sourceExtensions are the extensions of files that the go command opens to see what they are (go/build, Context.matchFile).
var sourceExtensions = []string{
	".go", ".c", ".cc", ".cpp", ".cxx", ".m", ".h", ".hh", ".hpp", ".hxx", ".f", ".F", ".for", ".f90", ".s", ".S", ".sx", ".swig", ".swigcxx", ".syso",
}

// isOpened reports whether the go command would open a file with this name.
func isOpened(name string) bool {
	return name == profile || name == "modules.txt" || slices.Contains(moduleFiles, name) || slices.Contains(sourceExtensions, filepath.Ext(name))
}
