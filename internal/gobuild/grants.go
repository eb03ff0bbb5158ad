package gobuild

import "path/filepath"

// access is what a build may do with a file, or with a folder and all below it. Each includes the ones before it, but for change, which
// does not include run.
type access int

const (
	list access = iota + 1 // names alone
	read
	run
	change
)

// grants are the files and folders that a build can reach.
type grants struct {
	named   map[string]access // by the user, the system or Go: links are followed
	folders map[string]access // found by what a stranger wrote: paths without links
	files   map[string]bool   // likewise, plain files that can be read
}

func newGrants() grants {
	return grants{named: map[string]access{}, folders: map[string]access{}, files: map[string]bool{}}
}

// allow grants what the user, the system or Go names.
func (g grants) allow(a access, paths ...string) {
	for _, path := range paths {
		g.named[path] = max(a, g.named[path])
	}
}

// allowFolder grants a folder that a stranger may have named, if it is root or below it when all links are followed.
func (g grants) allowFolder(a access, path, root string) {
	if target, ok := resolve(path, root); ok {
		g.folders[target] = max(a, g.folders[target])
	}
}

// allowFile grants the reading of a plain file that a stranger may have named, if its folder is root or below it when all links are followed. The
// file itself may not be a link. What is not granted is for Go to miss.
func (g grants) allowFile(path, root string) {
	if folder, ok := resolve(filepath.Dir(path), root); ok {
		g.files[filepath.Join(folder, filepath.Base(path))] = true
	}
}

// resolve returns where a path leads, and whether that is the folder root or below it.
func resolve(path, root string) (target string, ok bool) {
	target, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", false
	}
	root, err = filepath.EvalSymlinks(root)
	return target, err == nil && inside(target, root)
}

// inside reports whether a path is a folder, or below it.
func inside(path, folder string) bool {
	rel, err := filepath.Rel(folder, path)
	return err == nil && (rel == "." || filepath.IsLocal(rel))
}
