package gobuild

import "path/filepath"

// access is what a build may do with a file, or with a folder and everything below it. Each level includes the levels before it, except that change
// does not include run.
type access int

const (
	list access = iota + 1 // list names only
	read
	run
	change
)

// grants are the files and folders that a build can reach.
type grants struct {
	named   map[string]access // named by the user, the system or Go: symbolic links are followed
	folders map[string]access // found in what a stranger wrote: resolved paths without symbolic links
	files   map[string]bool   // found in what a stranger wrote: regular files that may be read, resolved too
}

func newGrants() grants {
	return grants{named: map[string]access{}, folders: map[string]access{}, files: map[string]bool{}}
}

// allow grants paths that the user, the system or Go names.
func (g grants) allow(a access, paths ...string) {
	for _, path := range paths {
		g.named[path] = max(a, g.named[path])
	}
}

// allowFolder grants a folder that a stranger may have named. It grants nothing if the folder, with all links followed, is neither root nor below it.
func (g grants) allowFolder(a access, path, root string) {
	if target, ok := resolve(path, root); ok {
		g.folders[target] = max(a, g.folders[target])
	}
}

// allowFile grants the reading of a regular file that a stranger may have named. It grants nothing if the file's folder, with all links followed,
// is neither root nor below it. The file itself may not be a link. The go command reports a file that it needs and cannot open.
func (g grants) allowFile(path, root string) {
	if folder, ok := resolve(filepath.Dir(path), root); ok {
		g.files[filepath.Join(folder, filepath.Base(path))] = true
	}
}

// resolve returns path with all links followed, and whether the result is root or below it. target is empty if path does not exist.
func resolve(path, root string) (target string, ok bool) {
	target, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", false
	}
	root, err = filepath.EvalSymlinks(root)
	return target, err == nil && inside(target, root)
}

// inside reports whether path is the folder itself or below it.
func inside(path, folder string) bool {
	rel, err := filepath.Rel(folder, path)
	return err == nil && (rel == "." || filepath.IsLocal(rel))
}
