package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/host/sandbox"
	"github.com/parhost/parhost/internal/gobuild"
)

// held is a file or folder that this program reads, writes or executes, in this run or in a later one.
type held struct {
	what string // for errors: the flag that names the file, or a description
	path string
	tree bool // everything below path counts too

	secret bool // workers must not read it either
}

// keep refuses a policy that lets workers change a file which this program relies on, or read its key. Such workers could forge its results or choose
// what it runs next. keep calls files only if the policy opens anything.
func keep(policy *sandbox.Policy, files func() []held) error {
	if len(policy.ReadWrite)+len(policy.ReadOnly) == 0 {
		return nil
	}
	all := files()
	if err := keepSecret(policy.ReadOnly, all); err != nil {
		return err
	}
	for _, bind := range policy.ReadWrite {
		open, err := os.Stat(bind.Source)
		if err != nil {
			continue // package sandbox reports the error
		}
		for _, f := range all {
			if lies(f.path, open) {
				return usageError("give --rw a folder of its own, or move the other one out of it",
					"%s %q lies in --rw %q, which workers may change", f.what, f.path, bind.Source)
			}
			if !f.tree {
				continue
			}
			if folder, err := os.Stat(f.path); err == nil && lies(bind.Source, folder) {
				return usageError("give --rw a folder elsewhere", "--rw %q, which workers may change, lies in %s %q", bind.Source, f.what, f.path)
			}
		}
		if err := keepLinked("--rw", bind.Source, all); err != nil {
			return err
		}
	}
	return nil
}

// keepSecret refuses read-only folders that contain a secret of this program, under its own name or as a hard link.
func keepSecret(binds []sandbox.Bind, files []held) error {
	secrets := slices.DeleteFunc(slices.Clone(files), func(f held) bool { return !f.secret })
	for _, bind := range binds {
		open, err := os.Stat(bind.Source)
		if err != nil {
			continue // package sandbox reports the error
		}
		for _, f := range secrets {
			if lies(f.path, open) {
				return usageError("give --ro only the folders that the plugin needs",
					"%s %q lies in --ro %q, which workers may read", f.what, f.path, bind.Source)
			}
		}
		if err := keepLinked("--ro", bind.Source, secrets); err != nil {
			return err
		}
	}
	return nil
}

// maxSearched is the largest number of files and folders that are searched for hard links in one folder of --rw or --ro.
const maxSearched = 200_000

// keepLinked refuses a folder of the flag --rw or --ro that contains a hard link to one of the files. It searches the folder only if one of the files
// has several names. A sandboxed worker cannot add a link later, because it can link files only within its own folders.
func keepLinked(flag, folder string, files []held) error {
	var linked []held
	var infos []fs.FileInfo
	for _, f := range files {
		if info, err := os.Stat(f.path); err == nil && hasNames(info) {
			linked, infos = append(linked, f), append(infos, info)
		}
	}
	if len(linked) == 0 {
		return nil
	}
	hint := func(f held) string {
		return fmt.Sprintf("use a copy, which is another file; one that is moved is the same: cp %s %s", quote(f.path), quote(f.path+".copy"))
	}
	searched := 0
	return filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return fs.SkipDir // workers cannot look there either
		}
		if searched++; searched > maxSearched {
			f := linked[0]
			return usageError(hint(f), "%s %q has several names (hard links), and %s %q more than %d files to search for them", f.what, f.path, flag, folder, maxSearched)
		}
		if !entry.Type().IsRegular() {
			return nil
		}
		info, _ := entry.Info() // info is nil if the file has been removed meanwhile; it then was not one of the files
		if i := slices.IndexFunc(infos, func(known fs.FileInfo) bool { return info != nil && os.SameFile(known, info) }); i >= 0 {
			return usageError(hint(linked[i]), "%s %q lies in %s %q, which workers may use, by another name (a hard link): %q", linked[i].what, linked[i].path, flag, folder, path)
		}
		return nil
	})
}

// lies reports whether path is the existing file or folder in, lies below it, or is reached through a symbolic link that lies in it. It compares
// files by identity, not by name, because a folder may be mounted twice and a file may have two hard links. A file that does not exist yet counts as
// lying in its folder.
func lies(path string, in fs.FileInfo) bool {
	return slices.ContainsFunc(placesOf(path), func(place string) bool {
		for {
			if info, err := os.Stat(place); err == nil && os.SameFile(info, in) {
				return true
			}
			above := filepath.Dir(place)
			if above == place {
				return false
			}
			place = above
		}
	})
}

// placesOf returns the file that a path leads to in the end, and each symbolic link on the way, because whoever can replace a link decides where the
// path leads. In each returned path only the last element may be a symbolic link.
func placesOf(path string) []string {
	if !filepath.IsAbs(path) { // not with filepath.Abs, which takes link/.. for the folder that holds the link
		folder, err := os.Getwd()
		if err != nil {
			return nil
		}
		path = folder + string(filepath.Separator) + path
	}
	root := filepath.VolumeName(path) + string(filepath.Separator)
	at, left := root, parts(path)
	var places []string
	for links := 0; len(left) > 0; {
		next := filepath.Join(at, left[0])
		left = left[1:]
		target, err := os.Readlink(next)
		if err != nil { // not a symbolic link, or missing
			at = next
			continue
		}
		places = append(places, next)
		if links++; links > maxLinks {
			return places
		}
		if filepath.IsAbs(target) {
			at = root
		}
		left = append(parts(target), left...)
	}
	return append(places, at)
}

// parts returns the elements of a path.
func parts(path string) []string {
	return strings.FieldsFunc(path[len(filepath.VolumeName(path)):], func(r rune) bool { return r < utf8.RuneSelf && os.IsPathSeparator(uint8(r)) })
}

// maxLinks is the number of symbolic links that the kernel follows in one path (path_resolution(7)).
const maxLinks = 40

// heldAlways returns the files that every run relies on, whatever its flags: this program, the lock file, the folders in which plugins are looked up,
// the plugins there, and the files that builds use.
func heldAlways(ctx context.Context, plugin string, pluginDirs []string, p *pins) []held {
	var files []held
	if self, err := os.Executable(); err == nil {
		files = append(files, held{what: "parhost itself", path: self})
	}
	if _, err := os.Lstat(lockName); !errors.Is(err, fs.ErrNotExist) {
		files = append(files, held{what: "the lock file", path: lockName})
	}
	if p.lock != "" && p.lock != noLock {
		files = append(files, held{what: "--lock", path: p.lock})
	}
	plugin, _ = cutWorkload(plugin)
	// Package sandbox protects an executable only under its real path, so other names are listed here.
	if info, err := os.Stat(plugin); err == nil && isPath(plugin) && (info.IsDir() || hasNames(info) || really(plugin) != plugin) {
		files = append(files, held{what: "--plugin", path: plugin, tree: info.IsDir()})
	}
	for _, dir := range host.SearchDirs(pluginDirs...) {
		files = append(files, held{what: "the folder of plugins", path: dir})
	}
	for _, path := range host.Installed(pluginDirs...) {
		files = append(files, held{what: "the plugin", path: path})
	}
	if cache, err := os.UserCacheDir(); err == nil {
		files = append(files, held{what: "the folder of built plugins", path: filepath.Join(cache, "parhost", "plugins"), tree: true})
	}
	if key := keyPath(); key != "" {
		files = append(files, held{what: "the key of dossiers", path: key, secret: true})
	}
	return append(files, heldByGo(ctx)...)
}

// heldByGo returns the files that influence how a Go package folder is built: the go command, its caches and its settings. It returns none if there
// is no go command.
func heldByGo(ctx context.Context) []held {
	program, err := exec.LookPath("go")
	if err != nil {
		return nil
	}
	files := []held{{what: "the go command", path: program}}
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) { // a file named go in an earlier folder of PATH would become the go command
		if dir == filepath.Dir(program) {
			break
		}
		files = append(files, held{what: "the folder of PATH", path: dir})
	}
	settings, err := gobuild.Settings(ctx)
	if err != nil {
		return files // without settings the go command cannot build anything either
	}
	for _, key := range []string{"GOCACHE", "GOMODCACHE", "GOROOT", "GOTMPDIR", "GOENV"} {
		if path := settings[key]; filepath.IsAbs(path) {
			files = append(files, held{what: key + " of the go command", path: path, tree: key != "GOENV"})
		}
	}
	return files
}

// held returns the files of a run of items.
func (o *options) held(ctx context.Context, s *streams) []held {
	var files []held
	for _, f := range []held{
		{what: "--report", path: o.report}, {what: "--trace", path: o.trace}, {what: "--joblog", path: o.joblog}, {what: "--dossier", path: o.dossier}, {what: "--input", path: o.input},
	} {
		if f.path != "" && f.path != "-" {
			files = append(files, f)
		}
	}
	return slices.Concat(files, heldStreams(s), heldAlways(ctx, o.plugin, o.pluginDirs, &o.pins)) // errors should name the user's files first
}

// heldStreams returns the regular files that the standard streams lead to or come from.
func heldStreams(s *streams) []held {
	var files []held
	for _, stream := range []struct {
		what string
		to   any
	}{{"stdin", s.in}, {"stdout", s.out}, {"stderr", s.err}} {
		if regular(stream.to) == nil {
			continue
		}
		if path := pathOf(fileOf(stream.to)); path != "" {
			files = append(files, held{what: stream.what, path: path})
		}
	}
	return files
}
