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

// Folder is a folder that is one host's alone. It removes what is dropped in the background. Its methods may be called from any goroutine.
type Folder struct {
	path   string
	around *os.Root // what it lies in, and the folder itself, as they were when nobody else could have mounted anything there
	root   *os.Root
	lock   *os.File // says that it is in use
	cancel context.CancelFunc
	full   chan struct{} // has a word when something waits
	done   sync.WaitGroup

	mu      sync.Mutex
	dropped int
	waiting []string
}

// Open makes a folder in base, which only this user can enter, and which must be closed. Its name begins with prefix; those of the same prefix
// that hosts of this user have left behind in base are removed in the background. An empty base is the system's folder for temporary files, or /tmp
// where that one is of no use. The path is absolute.
//
// below is how long the names in it of sockets are going to be, 0 if there are none: their paths have a limit. The error is a [*FolderError] if no
// folder can be made.
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
	f.done.Go(func() { sweep(ctx, prefix, filepath.Dir(path)) })
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

// Check says whether [Open] could make a folder, and returns base itself or, for "", what that comes to.
func Check(prefix, base string, below int) (string, error) {
	path, err := makeFolder(prefix, base, below)
	if err != nil {
		return "", err
	}
	return filepath.Dir(path), os.Remove(path)
}

// longestSocket is the length that a socket's path may have everywhere: the kernels' limits are 104 and 108 bytes, with a zero.
const longestSocket = 103

// FolderError says that no folder could be made, with the reason for each place where that was tried.
type FolderError struct{ Reasons []error }

func (e *FolderError) Error() string {
	var texts []string
	for _, reason := range e.Reasons {
		texts = append(texts, reason.Error())
	}
	return "make a folder for sockets: " + strings.Join(texts, "; ")
}

// Unwrap gives the reasons.
func (e *FolderError) Unwrap() []error { return e.Reasons }

func makeFolder(prefix, base string, below int) (string, error) {
	bases := []string{base}
	if base == "" {
		bases[0] = os.TempDir()
		if runtime.GOOS != "windows" && bases[0] != "/tmp" {
			bases = append(bases, "/tmp") // each user's own folder has a long name on macOS, and TMPDIR may say anything
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

// Path is where the folder is.
func (f *Folder) Path() string { return f.path }

// Reach returns the reason why the folder cannot be reached by its path, nil if it can. The error matches [syscall.EXDEV] if a file system has been
// mounted over it: a process that follows the path may then wait for whoever serves that file system.
func (f *Folder) Reach() error {
	_, err := lstat(f.around, filepath.Base(f.path))
	return err
}

// Drop takes a folder within this one out of its place, and returns at once. It reports whether the place is free now. It is not if a mount keeps
// the folder there; then nobody should go there by its path.
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

// empty removes what waits.
func (f *Folder) empty(ctx context.Context) {
	f.mu.Lock()
	names := f.waiting
	f.waiting = nil
	f.mu.Unlock()
	for _, name := range names {
		_ = removeIn(ctx, f.root, name) // what cannot be removed now is tried once more with the folder
	}
}

// Close removes the folder with all that is in it, also what was not dropped. It gives up when ctx ends, as Remove does, and leaves the rest to
// the next host. It waits for no file system that does not answer.
func (f *Folder) Close(ctx context.Context) error {
	f.cancel()
	closed := make(chan error, 1)
	go func() {
		f.done.Wait()
		_ = f.lock.Close() // before the folder goes: Windows removes none with an open file in it
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
	select { // it ends with ctx, except for the system call that is under way
	case err := <-closed:
		return err
	case <-time.After(stuckTime):
		return context.Cause(ctx)
	}
}

// stuckTime is how long a single system call may take before it counts as stuck.
const stuckTime = time.Second

func (f *Folder) closeRoots() {
	for _, root := range []*os.Root{f.around, f.root} {
		if root != nil {
			_ = root.Close()
		}
	}
}
