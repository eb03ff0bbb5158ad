package plain

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"slices"
)

// OpenFolder opens a folder, also one behind links. It never waits for another process. What is done in the folder is done there, wherever its
// name leads to by then.
func OpenFolder(path string) (*os.Root, error) {
	return os.OpenRoot(path + "/.") // of a pipe the path alone would wait for the other end
}

// Replace puts a file with this content in the place of name in a folder, in one step: whatever ends the program or the machine, the old file or
// the new one is there. A link of that name is replaced, and not what it leads to.
//
// The rights are perm, without those that the umask takes, and without those that an old file does not have.
//
// unsynced is the reason why the file system cannot sync the file, and nil if it can. The file is in its place then too.
func Replace(folder *os.Root, name string, perm fs.FileMode, content []byte) (unsynced, err error) {
	err = put(folder, name, perm, content, func(f *os.File) (err error) {
		unsynced, err = Sync(f)
		return err
	})
	if err != nil {
		return nil, err
	}
	return unsynced, SyncFolder(folder)
}

// Put is [Replace] without its syncs, which take milliseconds: the end of the machine may leave the old file, the new one, or an empty one. The end
// of the program leaves the old one or the new one.
func Put(folder *os.Root, name string, perm fs.FileMode, content []byte) error {
	return put(folder, name, perm, content, func(*os.File) error { return nil })
}

func put(folder *os.Root, name string, perm fs.FileMode, content []byte, sync func(*os.File) error) error {
	if old, err := folder.Lstat(name); err == nil && old.Mode().IsRegular() {
		perm &= old.Mode().Perm()
	}
	d, err := Begin(folder, "."+rand.Text(), perm)
	if err != nil {
		return inPlaceOf(name, err)
	}
	_, err = d.Write(content)
	if err == nil {
		err = sync(d.File)
	}
	if err = errors.Join(err, d.Close()); err == nil {
		err = folder.Rename(d.name, name)
	}
	if err != nil {
		return errors.Join(inPlaceOf(name, err), folder.Remove(d.name))
	}
	return nil
}

// inPlaceOf turns an error about a temporary file into an error about the file that it was to replace. The user does not know the temporary name.
func inPlaceOf(name string, err error) error {
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		return &fs.PathError{Op: path.Op, Path: name, Err: path.Err}
	}
	if link, ok := errors.AsType[*os.LinkError](err); ok {
		return &fs.PathError{Op: "replace", Path: name, Err: link.Err}
	}
	return err
}

// Check reports whether files can be made in a folder.
func Check(folder *os.Root) error {
	d, err := Begin(folder, "."+rand.Text(), 0o600)
	if err != nil {
		return err
	}
	return d.Abort()
}

// Draft is a new file under a name of its own, which is to take another file's place.
type Draft struct {
	*os.File
	folder *os.Root
	name   string
}

// Begin makes a draft under a name that must be free. The draft has to be committed or aborted.
func Begin(folder *os.Root, name string, perm fs.FileMode) (*Draft, error) {
	f, err := folder.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return nil, err
	}
	return &Draft{f, folder, name}, nil
}

// Commit syncs a draft, if its file system can do that, and puts it in the place of name. The file stays open, so that Windows does not do this.
// [SyncFolder] is the caller's.
func (d *Draft) Commit(name string) error {
	if _, err := Sync(d.File); err != nil {
		return err
	}
	return d.folder.Rename(d.name, name)
}

// SyncFolder makes the names in a folder survive the end of the machine, if its file system can do that.
func SyncFolder(folder *os.Root) error {
	if !foldersSync {
		return nil
	}
	f, err := folder.Open(".")
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = Sync(f)
	return err
}

// Sync makes what was written to a file survive the end of the machine. unsynced is the reason why the file system cannot do that at all; err is
// the error of one that can, and that failed.
func Sync(f *os.File) (unsynced, err error) {
	err = f.Sync()
	if !Unsupported(err) {
		return nil, err
	}
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		err = e.Err // whoever tells of it has a path that its reader knows
	}
	return err, nil
}

// Unsupported reports whether err, the error of a sync or a lock, says that the file system does not offer it, as those of CIFS, FUSE and NFS may not.
func Unsupported(err error) bool {
	return errors.Is(err, errors.ErrUnsupported) || slices.ContainsFunc(unsupported, func(e error) bool { return errors.Is(err, e) })
}

// Abort closes and removes a draft.
func (d *Draft) Abort() error { return errors.Join(d.Close(), d.folder.Remove(d.name)) }
