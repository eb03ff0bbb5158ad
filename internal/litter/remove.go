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

// Remove removes a folder and all that is in it, and does nothing if there is none. It gives up when ctx ends, and the error says then that it
// has, or what could not be removed.
//
// [os.RemoveAll] holds two descriptors for each level, so that a folder which is deep enough takes all that its process may have. Here a folder
// within another that is not empty is moved up first, so that there is one level at a time, and seven descriptors. What is mounted below is
// not removed, and not even looked at: see [Look]. Remove is safe only where no other process has rights in the folder that the caller lacks: such a
// process could swap files while Remove runs, and have it remove other files of the caller.
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

// removeIn is Remove of a folder that lies in another one, which no mount can hide.
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
	_ = around.Chmod(name, ownRights) // whoever made it may have forbidden that to all
	root, err := around.OpenRoot(name)
	if err != nil {
		return err
	}
	defer root.Close()
	if opened, err := root.Stat("."); err != nil || !os.SameFile(found, opened) { // a link has taken its place
		return errors.Join(err, &os.PathError{Op: "remove", Path: name, Err: errors.New("it has changed meanwhile")})
	}
	r := remover{root: root, prefix: "." + rand.Text() + "-"}
	for r.pass(ctx, root, ".") {
		for ; r.emptied < r.moved && ctx.Err() == nil; r.emptied++ { // before more comes up
			r.removeMoved(ctx, r.name(r.emptied))
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := root.Remove(lockName); err != nil && !errors.Is(err, fs.ErrNotExist) {
		r.fail(err)
	}
	_ = root.Close() // Windows removes no folder that somebody has open
	return errors.Join(r.err, around.Remove(name))
}

// ownRights is what it takes to empty a folder, and to move it.
const ownRights = 0o700

// remover empties a folder.
type remover struct {
	root   *os.Root
	prefix string // of what was moved up, which nobody can guess

	moved   int   // folders that came up
	emptied int   // of which are done
	err     error // the first
}

// name is that of a folder that came up.
func (r *remover) name(number int) string { return r.prefix + strconv.Itoa(number) }

// batch is how many names are read at once. The folder is opened anew for each: what is removed between two reads may make it skip some.
const batch = 1024

// pass removes a batch of what is in a folder, which lies at path below the root, or moves it up. It reports whether there is a use in another one.
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

// drop removes one name of a folder, or moves it up, and reports whether it has gone from there.
func (r *remover) drop(folder *os.Root, path, name string) bool {
	if folder == r.root && len(name) > len(r.prefix) && name[:len(r.prefix)] == r.prefix {
		return false // it came up
	}
	if folder == r.root && name == lockName && isFile(folder, name) {
		return false // it goes last: what has none may be somebody's who is just about to lock it
	}
	err := folder.Remove(name)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return true
	}
	if info, missing := lstat(folder, name); missing != nil || !info.IsDir() {
		r.fail(err)
		return errors.Is(missing, fs.ErrNotExist)
	}
	_ = folder.Chmod(name, ownRights) // to move it takes rights to it, too
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

// removeMoved removes a folder that came up.
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
