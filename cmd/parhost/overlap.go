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

// held is a file or folder that this program reads, writes or executes, now or in a later run.
type held struct {
	what string // for errors: the flag, or what it is
	path string
	tree bool // all below it counts too

	secret bool // workers must not read it either
}

// keep refuses a policy that lets workers change what this program relies on, or read its key: they would write its results, and say what it runs next.
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
			continue // package sandbox refuses it
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

// keepSecret refuses folders to read that contain a secret of this program, under its own name or by a hard link.
func keepSecret(binds []sandbox.Bind, files []held) error {
	secrets := slices.DeleteFunc(slices.Clone(files), func(f held) bool { return !f.secret })
	for _, bind := range binds {
		open, err := os.Stat(bind.Source)
		if err != nil {
			continue // package sandbox refuses it
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

// mostSearched is how many files and folders of --rw are searched for other names of the host's files.
const mostSearched = 200_000

// keepLinked refuses a folder of the flag --rw or --ro that contains a hard link to one of the files. It searches the folder only if one of the files has
// several names. A sandboxed worker cannot add a link later, because it can link files only within its own folders.
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
			return fs.SkipDir // workers find nothing there either
		}
		if searched++; searched > mostSearched {
			f := linked[0]
			return usageError(hint(f), "%s %q has several names (hard links), and %s %q more than %d files to search for them", f.what, f.path, flag, folder, mostSearched)
		}
		if !entry.Type().IsRegular() {
			return nil
		}
		info, _ := entry.Info() // nil if the file is gone by now, which is no file of the host's
		if i := slices.IndexFunc(infos, func(known fs.FileInfo) bool { return info != nil && os.SameFile(known, info) }); i >= 0 {
			return usageError(hint(linked[i]), "%s %q lies in %s %q, which workers may use, by another name (a hard link): %q", linked[i].what, linked[i].path, flag, folder, path)
		}
		return nil
	})
}

// lies reports whether a path names a file or folder that is there, or something below it, or leads over a link that lies there. A file is known by
// more than its name: a folder may be mounted twice, and a file have two links. What is not there yet lies in its folder.
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

// placesOf returns where a path leads: what it names in the end, and each link on the way, because whoever can replace a link says where the path
// leads. Only the last part of what it returns may be a link.
func placesOf(path string) []string {
	if !filepath.IsAbs(path) { // not by filepath.Abs, for which link/.. is the folder of the link
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
		if err != nil { // it is no link, or not there
			at = next
			continue
		}
		places = append(places, next)
		if links++; links > mostLinks {
			return places
		}
		if filepath.IsAbs(target) {
			at = root
		}
		left = append(parts(target), left...)
	}
	return append(places, at)
}

// parts are the names that a path consists of.
func parts(path string) []string {
	return strings.FieldsFunc(path[len(filepath.VolumeName(path)):], func(r rune) bool { return r < utf8.RuneSelf && os.IsPathSeparator(uint8(r)) })
}

// mostLinks is how many links the kernel follows in one path (path_resolution(7)).
const mostLinks = 40

// heldAlways are the files that every run relies on, whatever its flags are: this program, the lock file, where plugins are looked for, and what
// plugins are built with.
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
	// Package sandbox looks where an executable really lies, and at no other name of it.
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

// heldByGo returns the files that influence how a Go package folder is built: the go command, its caches and its settings. It returns none if there is no
// go command.
func heldByGo(ctx context.Context) []held {
	program, err := exec.LookPath("go")
	if err != nil {
		return nil
	}
	files := []held{{what: "the go command", path: program}}
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) { // a file of that name in one of these would be the go command
		if dir == filepath.Dir(program) {
			break
		}
		files = append(files, held{what: "the folder of PATH", path: dir})
	}
	settings, err := gobuild.Settings(ctx)
	if err != nil {
		return files // then it builds nothing either
	}
	for _, key := range []string{"GOCACHE", "GOMODCACHE", "GOROOT", "GOTMPDIR", "GOENV"} {
		if path := settings[key]; filepath.IsAbs(path) {
			files = append(files, held{what: key + " of the go command", path: path, tree: key != "GOENV"})
		}
	}
	return files
}

// held are the files of a run of items.
func (o *options) held(ctx context.Context, s *streams) []held {
	var files []held
	for _, f := range []held{
		{what: "--report", path: o.report}, {what: "--joblog", path: o.joblog}, {what: "--dossier", path: o.dossier}, {what: "--input", path: o.input},
	} {
		if f.path != "" && f.path != "-" {
			files = append(files, f)
		}
	}
	return slices.Concat(files, heldStreams(s), heldAlways(ctx, o.plugin, o.pluginDirs, &o.pins)) // what the user has named comes first
}

// heldStreams are the plain files that the standard streams lead to or come from.
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
