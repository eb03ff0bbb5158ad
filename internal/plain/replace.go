package plain

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"slices"
)

// OpenFolder opens a folder, also through symbolic links. It never waits for another process. Operations on the returned root stay in this folder,
// even if its path leads elsewhere later.
func OpenFolder(path string) (*os.Root, error) {
	return os.OpenRoot(path + "/.") // if path is a pipe, opening it without the dot would block
}

// Replace puts a file with this content in the place of name in a folder, in one step. If the program or the machine fails at any time, either the
// old or the new file is there. If name is a symbolic link, the link is replaced, not its target.
//
// The new file has the permissions perm, without those that the umask removes and those that the old file lacks.
//
// unsynced is the reason why the file system cannot sync the file, or nil if it can. The file is in its place in either case.
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

// Put does what [Replace] does, without syncs, which take milliseconds. If the machine fails, the old file, the new one, or an empty one may be
// left. If only the program ends, the old or the new file is left.
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

// inPlaceOf turns an error about a temporary file into an error about the file that it was to replace, because the user does not know the temporary name.
func inPlaceOf(name string, err error) error {
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		return &fs.PathError{Op: path.Op, Path: name, Err: path.Err}
	}
	if link, ok := errors.AsType[*os.LinkError](err); ok {
		return &fs.PathError{Op: "replace", Path: name, Err: link.Err}
	}
	return err
}

// Check returns an error if no file can be made in a folder.
func Check(folder *os.Root) error {
	d, err := Begin(folder, "."+rand.Text(), 0o600)
	if err != nil {
		return err
	}
	return d.Abort()
}

// Draft is a new file under a temporary name, which is to replace another file.
type Draft struct {
	*os.File
	folder *os.Root
	name   string
}

// Begin makes a draft. No file of this name may exist. The caller must commit or abort the draft.
func Begin(folder *os.Root, name string, perm fs.FileMode) (*Draft, error) {
	f, err := folder.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return nil, err
	}
	return &Draft{f, folder, name}, nil
}

// Commit syncs a draft, if its file system supports that, and renames it to name. The file stays open, so Commit fails on Windows. The caller must
// call [SyncFolder].
func (d *Draft) Commit(name string) error {
	if _, err := Sync(d.File); err != nil {
		return err
	}
	return d.folder.Rename(d.name, name)
}

// SyncFolder makes the names in a folder survive a failure of the machine, if the file system supports that.
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

// Sync makes the content of a file survive a failure of the machine. unsynced is the reason why the file system does not support syncs. err is the
// error of a file system that does, but failed.
func Sync(f *os.File) (unsynced, err error) {
	err = f.Sync()
	if !Unsupported(err) {
		return nil, err
	}
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		err = e.Err // the caller's message names the file as its reader knows it
	}
	return err, nil
}

// Unsupported reports whether err, an error of a sync or a lock, says that the file system does not support it, as is the case for some CIFS, FUSE
// and NFS mounts.
func Unsupported(err error) bool {
	return errors.Is(err, errors.ErrUnsupported) || slices.ContainsFunc(unsupported, func(e error) bool { return errors.Is(err, e) })
}

// Abort closes and removes a draft.
func (d *Draft) Abort() error { return errors.Join(d.Close(), d.folder.Remove(d.name)) }
