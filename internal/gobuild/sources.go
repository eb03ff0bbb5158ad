package gobuild

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// access is what a build may do with a file, or with a folder and all below it. Each includes the ones before it, but for change, which
// does not include run.
type access int

const (
	list access = iota + 1 // names alone
	read
	run
	change
)

// grants are the files that a build can reach.
type grants map[string]access

func (g grants) allow(a access, paths ...string) {
	for _, path := range paths {
		g[path] = max(a, g[path])
	}
}

// pkg is what go list says of a package. All lists of files are named here that go build opens files of, if only to see what they are.
type pkg struct {
	Dir        string
	ImportPath string
	Standard   bool
	DepOnly    bool
	Module     *module

	GoFiles, CgoFiles, IgnoredGoFiles, IgnoredOtherFiles, TestGoFiles, XTestGoFiles []string
	CFiles, CXXFiles, MFiles, HFiles, FFiles, SFiles, SwigFiles, SwigCXXFiles       []string
	SysoFiles, EmbedFiles                                                           []string
}

type module struct {
	Path, Dir, GoMod string
	Replace          *module
}

const pkgFields = "-json=Dir,ImportPath,Standard,DepOnly,Module,GoFiles,CgoFiles,IgnoredGoFiles,IgnoredOtherFiles,TestGoFiles,XTestGoFiles," +
	"CFiles,CXXFiles,MFiles,HFiles,FFiles,SFiles,SwigFiles,SwigCXXFiles,SysoFiles,EmbedFiles"

// files are those of the package's folder that go build opens.
func (p *pkg) files() []string {
	return slices.Concat(p.GoFiles, p.CgoFiles, p.IgnoredGoFiles, p.IgnoredOtherFiles, p.TestGoFiles, p.XTestGoFiles,
		p.CFiles, p.CXXFiles, p.MFiles, p.HFiles, p.FFiles, p.SFiles, p.SwigFiles, p.SwigCXXFiles, p.SysoFiles, p.EmbedFiles)
}

func (p *pkg) hasC() bool { return len(p.CgoFiles)+len(p.SwigFiles)+len(p.SwigCXXFiles) > 0 }

// sources are what a folder is built of.
type sources struct {
	env      *environ
	packages []*pkg // without those of the standard library
	grants   grants
	outside  []string // as in [Options.Outside]
}

// findSources lists what a folder is built of, and fetches modules that are missing. It checks that no source is a link that leads out of
// its module.
func findSources(ctx context.Context, dir string, env *environ, cgo bool) (*sources, error) {
	s := &sources{env: env, grants: grants{}}
	var err error
	// Whether there is C in it shows only where C is enabled. A user who has it disabled knows that it is built without.
	if cgo || os.Getenv("CGO_ENABLED") != "0" {
		if s.packages, err = listPackages(ctx, env, true); err != nil {
			return nil, err
		}
	}
	if !cgo {
		var with []string
		for _, p := range s.packages {
			if p.hasC() {
				with = append(with, p.ImportPath)
			}
		}
		if len(with) > 0 {
			return nil, &CError{Packages: with}
		}
		if s.packages, err = listPackages(ctx, env, false); err != nil {
			return nil, err
		}
	}
	own := dir // the root of the folder's module
	for _, p := range s.packages {
		if !p.DepOnly && p.Module != nil && p.Module.Dir != "" {
			own = p.Module.Dir
		}
	}
	s.allowTools(cgo)
	s.allowModules()
	for _, p := range s.packages {
		if err := s.allowPackage(p, own, cgo); err != nil {
			return nil, err
		}
	}
	slices.Sort(s.outside)
	s.outside = slices.Compact(s.outside)
	return s, nil
}

// listPackages returns what the package in a folder links, without the standard library.
func listPackages(ctx context.Context, env *environ, cgo bool) ([]*pkg, error) {
	out, err := env.ask(ctx, []string{cgoEnabled(cgo)}, "list", "-buildvcs=false", "-deps", pkgFields, ".")
	if err != nil {
		return nil, err
	}
	var packages []*pkg
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		p := &pkg{}
		err := d.Decode(p)
		switch {
		case errors.Is(err, io.EOF):
			return packages, nil
		case err != nil:
			return nil, fmt.Errorf("go list: %w", err)
		case !p.Standard && p.Dir != "":
			packages = append(packages, p)
		}
	}
}

var (
	libraryFolders = []string{"/lib", "/lib32", "/lib64", "/usr/lib", "/usr/lib32", "/usr/lib64", "/nix/store", "/gnu/store"}
	programFolders = []string{"/bin", "/sbin", "/usr"}
)

// allowTools grants Go itself, with cgo the system's compilers, libraries and headers too.
func (s *sources) allowTools(cgo bool) {
	root := s.env.values["GOROOT"]
	s.grants.allow(run, root)
	// Some distributions have links there to other folders.
	for _, pattern := range []string{"*", "pkg/*"} {
		entries, _ := filepath.Glob(filepath.Join(root, pattern)) // the pattern is a good one
		s.grants.allow(run, entries...)
	}
	s.grants.allow(run, libraryFolders...) // a go command may be linked dynamically
	musl, _ := filepath.Glob("/etc/ld-musl-*.path")
	s.grants.allow(read, musl...)
	s.grants.allow(read, "/etc/ld.so.cache", "/dev/urandom", "/dev/random", "/dev/zero")
	s.grants.allow(change, os.DevNull)
	if cgo {
		s.grants.allow(run, programFolders...)
		s.grants.allow(read, "/etc/ld.so.conf", "/etc/ld.so.conf.d")
		s.grants.allow(read, s.env.compilerPaths()...)
	}
}

// allowModules grants the files that say which modules and versions there are.
func (s *sources) allowModules() {
	cache := s.env.values["GOMODCACHE"]
	s.grants.allow(list, cache)
	files := []string{s.env.values["GOMOD"], s.env.values["GOWORK"]}
	for _, p := range s.packages {
		if p.Module != nil {
			s.grants.allow(list, p.Module.Dir)
			files = append(files, p.Module.GoMod)
		}
	}
	seen := map[string]bool{"": true, "off": true, os.DevNull: true}
	for len(files) > 0 {
		file := files[0]
		if files = files[1:]; seen[file] {
			continue
		}
		seen[file] = true
		sums := strings.TrimSuffix(file, filepath.Ext(file)) + ".sum" // go.sum
		if strings.HasSuffix(file, ".work") {
			sums = file + ".sum"
		}
		for _, path := range []string{file, sums, filepath.Join(filepath.Dir(file), "vendor", "modules.txt")} {
			if info, err := os.Lstat(path); err == nil && info.Mode().IsRegular() { // a link could lead to any file
				s.grants.allow(read, path)
			}
		}
		if inside(file, cache) {
			continue
		}
		files = append(files, localModules(file)...)
		for _, name := range versions(sums) {
			for _, extension := range []string{".mod", ".info", ".ziphash"} {
				s.grants.allow(read, filepath.Join(cache, "cache", "download", name+extension))
			}
		}
	}
}

// localModules returns the go.mod files of folders that a go.mod or go.work names. Only such words begin like a path there.
func localModules(file string) []string {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil // go list has read what it needs
	}
	var files []string
	for word := range strings.FieldsSeq(string(text)) {
		word = strings.Trim(word, "\"`")
		switch {
		case filepath.IsAbs(word):
		case strings.HasPrefix(word, "."):
			word = filepath.Join(filepath.Dir(file), word)
		default:
			continue
		}
		files = append(files, filepath.Join(word, "go.mod"))
	}
	return files
}

// versions returns the modules of a go.sum, as the module cache names them: PATH/@v/VERSION.
func versions(sums string) []string {
	text, err := os.ReadFile(sums)
	if err != nil {
		return nil // there may be none
	}
	var names []string
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) == 3 {
			names = append(names, filepath.Join(escaped(f[0]), "@v", escaped(strings.TrimSuffix(f[1], "/go.mod"))))
		}
	}
	return names
}

// escaped is a module's path or version as the module cache has it: upper-case letters are "!" and the lower-case letter
// (golang.org/x/mod/module, EscapePath).
func escaped(path string) string {
	var b strings.Builder
	for _, r := range path {
		if r >= 'A' && r <= 'Z' {
			b.WriteByte('!')
			r += 'a' - 'A'
		}
		b.WriteRune(r)
	}
	return b.String()
}

// allowPackage grants the files of a package. own is the root of the folder's module.
//
// A module in the cache is granted as a whole: it holds nothing but what was published. Elsewhere there may be other files beside the sources, such
// as a .env, so that the sources alone are granted. C has files that Go does not know of. With C the folder's own module is granted as a whole, and
// of others the folders of packages with C in them.
func (s *sources) allowPackage(p *pkg, own string, cgo bool) error {
	if p.Module != nil && p.Module.Dir != "" && inside(p.Module.Dir, s.env.values["GOMODCACHE"]) {
		s.grants.allow(read, p.Module.Dir)
		return nil
	}
	root := own
	if p.Module != nil && p.Module.Dir != "" {
		root = p.Module.Dir
	}
	if !inside(p.Dir, own) {
		s.outside = append(s.outside, root)
	}
	switch {
	case cgo && root == own:
		s.grants.allow(read, own)
	case cgo && p.hasC():
		s.grants.allow(read, p.Dir)
	}
	resolved, err := filepath.EvalSymlinks(root)
	if err != nil {
		return err
	}
	s.grants.allow(list, p.Dir)
	for _, name := range append(p.files(), "default.pgo") {
		path := filepath.Join(p.Dir, name)
		target, err := filepath.EvalSymlinks(path)
		if errors.Is(err, os.ErrNotExist) {
			continue // what is missing is for go build to say
		}
		if err != nil {
			return err
		}
		if !inside(target, resolved) {
			return fmt.Errorf("%q, which is %q, %w %q", path, target, ErrOutside, root)
		}
		s.grants.allow(read, target)
	}
	return nil
}

// inside reports whether a path is a folder, or below it.
func inside(path, folder string) bool {
	rel, err := filepath.Rel(folder, path)
	return err == nil && (rel == "." || filepath.IsLocal(rel))
}
