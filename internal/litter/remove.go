package litter

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/parhost/parhost/internal/plain"
)

// Remove removes a folder and everything in it. It does nothing if the folder does not exist. It stops when ctx ends, and then returns the
// context's cause; otherwise the error names the first thing that could not be removed.
//
// [os.RemoveAll] holds two descriptors for each level, so a deep folder uses up the descriptors that the process may have. Remove moves each nested
// folder that is not empty up to the top first, so it works on one level at a time and needs seven descriptors. It neither removes nor looks at
// what is mounted below the folder: see [Look]. Remove is safe only where no other process has rights in the folder that the caller lacks. Such a
// process could swap files while Remove runs, and make it remove other files of the caller.
func Remove(ctx context.Context, path string) error {
	around, err := plain.OpenFolder(filepath.Dir(path))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer around.Close()
	return removeIn(ctx, around, filepath.Base(path))
}

// removeIn does what Remove does, for a folder in around. around is open, so no mount can hide it.
func removeIn(ctx context.Context, around *os.Root, name string) error {
	found, err := lstat(around, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if !found.IsDir() {
		return around.Remove(name)
	}
	_ = around.Chmod(name, ownRights) // the plugin that made it may have removed all permissions
	root, err := around.OpenRoot(name)
	if err != nil {
		return err
	}
	defer root.Close()
	if opened, err := root.Stat("."); err != nil || !os.SameFile(found, opened) { // a link has replaced the folder
		return errors.Join(err, &os.PathError{Op: "remove", Path: name, Err: errors.New("it has changed meanwhile")})
	}
	r := remover{root: root, prefix: "." + rand.Text() + "-"}
	for r.pass(ctx, root, ".") {
		for ; r.emptied < r.moved && ctx.Err() == nil; r.emptied++ { // empties the moved folders before pass moves more up
			r.removeMoved(ctx, r.name(r.emptied))
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := root.Remove(lockName); err != nil && !errors.Is(err, fs.ErrNotExist) {
		r.fail(err)
	}
	_ = root.Close() // Windows removes no folder that a process has open
	return errors.Join(r.err, around.Remove(name))
}

// ownRights are the permissions that are needed to empty a folder and to move it.
const ownRights = 0o700

// remover empties a folder.
type remover struct {
	root   *os.Root
	prefix string // begins the names of folders that were moved up; nobody can guess it

	moved   int   // number of folders that were moved up
	emptied int   // number of moved folders that have been emptied
	err     error // the first error
}

// name is the name of a folder that was moved up.
func (r *remover) name(number int) string { return r.prefix + strconv.Itoa(number) }

// batch is how many names are read at once. The folder is opened again for each batch, because removals between two reads may make a reader skip names.
const batch = 1024

// pass removes a batch of the entries of a folder, or moves them up. path is the folder's path below the root. pass reports whether another pass
// may achieve more.
func (r *remover) pass(ctx context.Context, folder *os.Root, path string) (progress bool) {
	names, err := readNames(folder)
	if err != nil {
		r.fail(err)
	}
	for _, name := range names {
		if ctx.Err() != nil {
			return false
		}
		progress = r.drop(folder, path, name) || progress
	}
	return progress
}

func readNames(folder *os.Root) ([]string, error) {
	f, err := folder.Open(".")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	names, err := f.Readdirnames(batch)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return names, err
}

// drop removes one entry of a folder, or moves it up. It reports whether the entry is no longer there.
func (r *remover) drop(folder *os.Root, path, name string) bool {
	if folder == r.root && len(name) > len(r.prefix) && name[:len(r.prefix)] == r.prefix {
		return false // it was moved up
	}
	if folder == r.root && name == lockName && isFile(folder, name) {
		return false // removeIn removes the lock file last: a folder without one looks as if its host were about to lock it
	}
	err := folder.Remove(name)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return true
	}
	if info, missing := lstat(folder, name); missing != nil || !info.IsDir() {
		r.fail(err)
		return errors.Is(missing, fs.ErrNotExist)
	}
	_ = folder.Chmod(name, ownRights) // a folder can be moved only with rights to itself, too
	if err := r.root.Rename(filepath.Join(path, name), r.name(r.moved)); err != nil {
		r.fail(err)
		return false
	}
	r.moved++
	return true
}

func isFile(folder *os.Root, name string) bool {
	info, err := lstat(folder, name)
	return err == nil && info.Mode().IsRegular()
}

// removeMoved removes a folder that was moved up.
func (r *remover) removeMoved(ctx context.Context, name string) {
	folder, err := r.root.OpenRoot(name)
	if err != nil {
		r.fail(err)
		return
	}
	for r.pass(ctx, folder, name) {
		continue
	}
	_ = folder.Close()
	if ctx.Err() != nil {
		return
	}
	if err := r.root.Remove(name); err != nil {
		r.fail(err)
	}
}

func (r *remover) fail(err error) {
	if r.err == nil {
		r.err = err
	}
}
