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

	"github.com/parhost/parhost/internal/plain"
)

// pkg is go list's description of a package. Its fields name every file that go build opens, including files that it opens only to see what they are.
type pkg struct {
	Dir        string
	ImportPath string
	Standard   bool
	DepOnly    bool
	Module     *moduleInfo

	GoFiles, CgoFiles, IgnoredGoFiles, IgnoredOtherFiles, TestGoFiles, XTestGoFiles []string
	CFiles, CXXFiles, MFiles, HFiles, FFiles, SFiles, SwigFiles, SwigCXXFiles       []string
	SysoFiles, EmbedFiles                                                           []string
}

// moduleInfo is go list's description of a package's module.
type moduleInfo struct {
	Version, Dir, GoMod string
	Main                bool
	Replace             *moduleInfo
}

// cached reports whether the module lies in the module cache: it has a version, and no folder replaces it.
func (m *moduleInfo) cached() bool {
	if m.Replace != nil {
		m = m.Replace
	}
	return !m.Main && m.Version != ""
}

const pkgFields = "-json=Dir,ImportPath,Standard,DepOnly,Module,GoFiles,CgoFiles,IgnoredGoFiles,IgnoredOtherFiles,TestGoFiles,XTestGoFiles," +
	"CFiles,CXXFiles,MFiles,HFiles,FFiles,SFiles,SwigFiles,SwigCXXFiles,SysoFiles,EmbedFiles"

// files returns the names of the files in the package's folder that go build opens.
func (p *pkg) files() []string {
	return slices.Concat(p.GoFiles, p.CgoFiles, p.IgnoredGoFiles, p.IgnoredOtherFiles, p.TestGoFiles, p.XTestGoFiles,
		p.CFiles, p.CXXFiles, p.MFiles, p.HFiles, p.FFiles, p.SFiles, p.SwigFiles, p.SwigCXXFiles, p.SysoFiles, p.EmbedFiles)
}

func (p *pkg) hasC() bool { return len(p.CgoFiles)+len(p.SwigFiles)+len(p.SwigCXXFiles) > 0 }

// sources describes what a folder is built from.
type sources struct {
	env      *environ
	packages []*pkg // without the packages of the standard library
	grants   grants
	outside  []string // folders of modules, for [Options.Outside]
}

// findSources lists what a folder is built from, and downloads missing modules. The error matches [ErrOutside] if a source is a symbolic link that
// leads out of its module.
func findSources(ctx context.Context, dir string, env *environ, cgo bool) (*sources, error) {
	s := &sources{env: env, grants: newGrants()}
	var err error
	// Packages with C show only while cgo is enabled. A user who has disabled cgo expects a build without C, so for them the check is left out.
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
	if err := s.allowModules(ctx); err != nil {
		return nil, err
	}
	for _, p := range s.packages {
		if err := s.allowPackage(p, own, cgo); err != nil {
			return nil, err
		}
	}
	slices.Sort(s.outside)
	s.outside = slices.Compact(s.outside)
	return s, nil
}

// listPackages returns the package in the folder and all packages that it links, except those of the standard library.
func listPackages(ctx context.Context, env *environ, cgo bool) ([]*pkg, error) {
	out, err := env.askPatiently(ctx, []string{cgoEnabled(cgo)}, "list", "-buildvcs=false", "-deps", pkgFields, ".")
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

// allowTools grants the Go toolchain and, if cgo is true, the system's compilers, libraries and headers.
func (s *sources) allowTools(cgo bool) {
	root := s.env.values["GOROOT"]
	s.grants.allow(run, root)
	// Some distributions have symbolic links here that lead to folders elsewhere.
	for _, pattern := range []string{"*", "pkg/*"} {
		entries, _ := filepath.Glob(filepath.Join(root, pattern)) // Glob's only error is a bad pattern
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

// profile is the name of the CPU profile by which the go command optimizes a program.
const profile = "default.pgo"

// allowPackage grants the files of a package. own is the root of the folder's module.
//
// A module in the cache is granted as a whole, because it holds only what was published. Another module's folder may hold private files, such as a
// .env, so only the sources are granted. C sources may use files that Go does not know of. So with cgo the folder's own module is granted as a
// whole, and in other modules the folders of packages that contain C.
func (s *sources) allowPackage(p *pkg, own string, cgo bool) error {
	cache := s.env.values["GOMODCACHE"]
	if p.Module != nil && p.Module.cached() && inside(p.Module.Dir, cache) {
		s.grants.allowFolder(read, p.Module.Dir, cache)
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
		s.grants.allowFolder(read, own, own)
	case cgo && p.hasC():
		s.grants.allowFolder(read, p.Dir, root)
	}
	s.grants.allowFolder(list, p.Dir, root)
	names := p.files()
	if !p.DepOnly {
		names = append(names, profile)
	}
	for _, name := range names {
		path := filepath.Join(p.Dir, name)
		target, ok := resolve(path, root)
		if target == "" {
			continue // go build reports the missing file
		}
		if !ok {
			return fmt.Errorf("%q, which is %q, %w %q", path, target, ErrOutside, root)
		}
		if info, err := os.Lstat(target); err == nil && !info.Mode().IsRegular() {
			return &plain.KindError{Path: path, Mode: info.Mode()}
		}
		s.grants.files[target] = true
	}
	return nil
}
