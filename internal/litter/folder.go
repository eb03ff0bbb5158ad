package litter

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/parhost/parhost/internal/plain"
)

// Folder is a folder that belongs to one host. It removes dropped folders in the background. Its methods may be called from any goroutine.
type Folder struct {
	path   string
	around *os.Root // the parent; like root, opened before anybody else could mount anything there
	root   *os.Root
	lock   *os.File // locked while the folder is in use
	cancel context.CancelFunc
	full   chan struct{} // has a value when waiting is not empty
	done   sync.WaitGroup

	mu      sync.Mutex
	dropped int
	waiting []string
}

// Open makes a folder in base that only this user can enter. The caller must close it. Its name begins with prefix. Open also removes, in the
// background, the folders with this prefix that killed hosts of this user have left behind in base. If base is empty, the folder is made in the
// system's folder for temporary files, or in /tmp if that one cannot be used. The folder's path is absolute.
//
// below is the length of the longest name that a socket in the folder will have, because a socket's path has a length limit; 0 means that there
// will be no sockets. The error is a [*FolderError] if no folder can be made.
func Open(prefix, base string, below int) (*Folder, error) {
	path, err := makeFolder(prefix, base, below)
	if err != nil {
		return nil, err
	}
	f := &Folder{path: path, full: make(chan struct{}, 1)}
	f.around, err = plain.OpenFolder(filepath.Dir(path))
	if err == nil {
		f.root, err = plain.OpenFolder(path)
	}
	if err == nil {
		f.lock, err = lockFolder(path)
	}
	if err != nil {
		f.closeRoots()
		_ = os.RemoveAll(path)
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	f.cancel = cancel
	f.done.Go(func() { sweep(ctx, prefix, path) })
	f.done.Go(func() {
		for {
			select {
			case <-f.full:
				f.empty(ctx)
			case <-ctx.Done():
				return
			}
		}
	})
	return f, nil
}

// Check reports whether [Open] could make a folder. It returns the absolute path of base or, if base is empty, of the folder that Open would use.
func Check(prefix, base string, below int) (string, error) {
	path, err := makeFolder(prefix, base, below)
	if err != nil {
		return "", err
	}
	return filepath.Dir(path), os.Remove(path)
}

// longestSocket is the longest path of a socket, in bytes, on all systems. The kernels' limits are 104 and 108 bytes with the terminating zero.
const longestSocket = 103

// FolderError says that no folder could be made. Reasons has an error for each place that was tried.
type FolderError struct{ Reasons []error }

func (e *FolderError) Error() string {
	var texts []string
	for _, reason := range e.Reasons {
		texts = append(texts, reason.Error())
	}
	return "make a folder for sockets: " + strings.Join(texts, "; ")
}

// Unwrap returns the reasons.
func (e *FolderError) Unwrap() []error { return e.Reasons }

func makeFolder(prefix, base string, below int) (string, error) {
	bases := []string{base}
	if base == "" {
		bases[0] = os.TempDir()
		if runtime.GOOS != "windows" && bases[0] != "/tmp" {
			bases = append(bases, "/tmp") // on macOS the path of a user's own temporary folder is long, and TMPDIR may be anything
		}
	}
	var failed FolderError
	for _, base := range bases {
		path, err := makeFolderIn(base, prefix, below)
		if err == nil {
			return path, nil
		}
		failed.Reasons = append(failed.Reasons, err)
	}
	return "", &failed
}

func makeFolderIn(base, prefix string, below int) (string, error) {
	base, err := filepath.Abs(base)
	if err != nil {
		return "", err
	}
	if below > 0 && strings.ContainsAny(base, "|\n") {
		return "", fmt.Errorf("a socket in %q could not be named in a worker's handshake, where | separates fields and a line break ends the line (Config.TempDir)", base)
	}
	path, err := os.MkdirTemp(base, fmt.Sprintf("%s-%d-", prefix, os.Getpid()))
	if err != nil {
		return "", err
	}
	if below > 0 && len(path)+below > longestSocket {
		_ = os.Remove(path)
		return "", fmt.Errorf("a socket in %q would have a path of %d bytes, the limit is %d (Config.TempDir)", base, len(path)+below, longestSocket)
	}
	return path, nil
}

// Path returns the absolute path of the folder.
func (f *Folder) Path() string { return f.path }

// Reach returns an error if the folder cannot be reached by its path. The error matches [syscall.EXDEV] if a file system has been mounted over the
// folder: a process that follows the path may then wait for the server of that file system.
func (f *Folder) Reach() error {
	_, err := lstat(f.around, filepath.Base(f.path))
	return err
}

// Drop moves a folder within this one out of its place, to be removed in the background, and returns at once. It reports whether the place is free
// now. If a mount keeps the folder in its place, Drop returns false, and the caller should not use the path any more.
func (f *Folder) Drop(path string) (free bool) {
	if path == "" {
		return true
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	gone := fmt.Sprintf("gone-%d", f.dropped)
	f.dropped++
	if err := f.root.Rename(filepath.Base(path), gone); err != nil {
		return errors.Is(err, fs.ErrNotExist)
	}
	f.waiting = append(f.waiting, gone)
	select {
	case f.full <- struct{}{}:
	default:
	}
	return true
}

// empty removes the folders that were dropped.
func (f *Folder) empty(ctx context.Context) {
	f.mu.Lock()
	names := f.waiting
	f.waiting = nil
	f.mu.Unlock()
	for _, name := range names {
		if f.root.Remove(name) != nil { // most are empty
			_ = removeIn(ctx, f.root, name) // Close tries again to remove what cannot be removed now
		}
	}
}

// Close removes the folder with everything in it, dropped or not. Like Remove it stops when ctx ends, and leaves the rest to the next host. A file
// system that does not answer delays Close by at most stuckTime after the end of ctx.
func (f *Folder) Close(ctx context.Context) error {
	f.cancel()
	closed := make(chan error, 1)
	go func() {
		f.done.Wait()
		_ = f.lock.Close() // before the folder is removed: Windows removes none with an open file in it
		_ = f.root.Close()
		err := removeIn(ctx, f.around, filepath.Base(f.path))
		f.closeRoots()
		closed <- err
	}()
	select {
	case err := <-closed:
		return err
	case <-ctx.Done():
	}
	select { // the removal stops soon after ctx ends, unless a system call is stuck
	case err := <-closed:
		return err
	case <-time.After(stuckTime):
		return context.Cause(ctx)
	}
}

// stuckTime is how long Close waits after the end of ctx before it takes a system call for stuck.
const stuckTime = time.Second

func (f *Folder) closeRoots() {
	for _, root := range []*os.Root{f.around, f.root} {
		if root != nil {
			_ = root.Close()
		}
	}
}
