package gobuild

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/parhost/parhost/internal/litter"
)

// Options say how a folder is built.
type Options struct {
	// Cgo builds packages with C in them. Without it a folder that links such a package is refused.
	Cgo bool
	// Began is called, at most once, if the folder has not been built before, or if the build takes longer than a second. It may be nil.
	Began func()
	// Outside is called before a folder is built for the first time that takes sources from outside of its module and of the module cache: from
	// the modules, by their folders, that go.mod or go.work names. It may be nil.
	Outside func(modules []string)
}

// CError says that a folder cannot be built without C.
type CError struct {
	Packages []string // those with C in them
}

func (e *CError) Error() string { return "there is C in " + strings.Join(e.Packages, ", ") }

var (
	// ErrNoGo means that the go command is not in PATH.
	ErrNoGo = errors.New("there is no go command here")
	// ErrNoWall means that this system cannot confine a C compiler.
	ErrNoWall = errors.New("folders with C are built only where Landlock confines the compiler (Linux 5.13 and newer)")
	// ErrOutside means that a source lies outside of its module, behind a link or an #include line.
	ErrOutside = errors.New("lies outside of its module")
	// ErrToolchain means that the folder asks for another version of Go, which is not fetched without the user's word.
	ErrToolchain = errors.New("the folder asks for another version of Go")
	// ErrLibrary means that the folder's package is not main, so that there is nothing to execute.
	ErrLibrary = errors.New("it is a library, not a program: its package is not main")
	// ErrTooLarge means that a process of the build met the limit of memory, or of the size of a file.
	ErrTooLarge = fmt.Errorf("a process of the build may take %d GiB of memory, and write files of %d GiB", mostMemoryBytes>>30, mostFileBytes>>30)
	// ErrForbidden means that the build met the wall.
	ErrForbidden = errors.New("the build tried to open a file that it may not")
)

// quietTime is how long a build that may have nothing to do is not spoken of.
const quietTime = time.Second

// Build builds the Go package in a folder into the user's cache, and returns the executable's path. Without C it is linked statically, so
// that it needs no files in a sandbox. Modules that are missing are fetched first, which executes nothing of them.
//
// Builds of one folder may run at once: each replaces the executable as a whole when it is done.
func Build(ctx context.Context, dir string, o Options) (path string, err error) {
	began := sync.OnceFunc(func() {
		if o.Began != nil {
			o.Began()
		}
	})
	timer := time.AfterFunc(quietTime, began)
	defer func() {
		if !timer.Stop() {
			began() // returns when the timer's call has
		}
	}()
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	home, target, err := place(abs, o.Cgo)
	if err != nil {
		return "", err
	}
	if err := checkModuleFiles(abs); err != nil {
		return "", err
	}
	// It is private to this build. The executable is linked beside its place, so that it gets there in one step.
	own, err := litter.Open(newPrefix, home, 0)
	if f, ok := errors.AsType[*litter.FolderError](err); ok { // which speaks of sockets
		err = errors.Join(f.Reasons...)
	}
	if err != nil {
		return "", err
	}
	defer func() { _ = own.Close(context.WithoutCancel(ctx)) }()
	b := newBounds()
	if err := b.guarded(own.Path()); err != nil {
		return "", err
	}
	defer func() { b.close(err != nil) }()
	env, err := readEnv(ctx, abs, b)
	if err != nil {
		return "", err
	}
	if o.Cgo && !hasWall() {
		return "", ErrNoWall
	}
	s, err := findSources(ctx, abs, env, o.Cgo)
	if err != nil {
		return "", err
	}
	if !hasWall() {
		if err := s.checkIncludes(); err != nil {
			return "", err
		}
	}
	out, tmp := filepath.Join(own.Path(), "out"), filepath.Join(own.Path(), "tmp")
	if err := errors.Join(os.Mkdir(out, 0o700), os.Mkdir(tmp, 0o700)); err != nil {
		return "", err
	}
	made := filepath.Join(out, filepath.Base(target))
	if os.Link(target, made) != nil { // go build leaves alone what is up to date
		began()
	}
	outside := strings.Join(s.outside, "\n")
	said, err := os.ReadFile(target + outsideSuffix) // when it was built last
	if o.Outside != nil && outside != "" && (err != nil || string(said) != outside) {
		o.Outside(s.outside)
	}
	args := []string{"build", "-buildvcs=false", "-o", made}
	if n := parallel(); n < runtime.NumCPU() {
		args = append(args, "-p", strconv.Itoa(n))
	}
	cmd := exec.CommandContext(ctx, env.goCommand(), append(args, ".")...)
	cmd.Dir = abs
	cmd.Env = env.confined(tmp, o.Cgo)
	cmd.WaitDelay = time.Second
	output := head{most: mostWords}
	cmd.Stdout, cmd.Stderr = &output, &output
	grants := s.grants
	grants.allow(change, out, tmp, env.values["GOCACHE"])
	if err := os.MkdirAll(env.values["GOCACHE"], 0o700); err != nil {
		return "", err
	}
	if hasWall() {
		err = runWalled(b, cmd, grants)
	} else {
		err = b.runBuild(cmd)
	}
	if err != nil {
		return "", explain(err, output.kept.Bytes())
	}
	if isArchive(made) {
		return "", ErrLibrary
	}
	err = os.Rename(made, target)
	if err != nil && runtime.GOOS == "windows" { // which replaces no program that runs, but moves it
		if err = os.Rename(target, filepath.Join(out, "old")); err == nil {
			err = os.Rename(made, target)
		}
	}
	if err == nil {
		err = os.WriteFile(target+outsideSuffix, []byte(outside), 0o600)
	}
	if err != nil {
		return "", err
	}
	return target, nil
}

// outsideSuffix is added to the name of an executable for that of the list of modules outside of its folder, of which the user has been told.
const outsideSuffix = ".outside"

// archive is how the format of ar(5) begins. The go command writes one for a package that is not main.
const archive = "!<arch>\n"

// isArchive reports whether a file is an archive.
func isArchive(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	begin := make([]byte, len(archive))
	_, err = io.ReadFull(f, begin)
	return err == nil && string(begin) == archive
}

// newPrefix is how the folders of builds are called.
const newPrefix = "new"

// Built reports whether an executable is one that [Build] made.
func Built(path string) bool {
	cache, err := os.UserCacheDir()
	return err == nil && filepath.Dir(filepath.Dir(path)) == filepath.Join(cache, "parhost", "plugins")
}

// place returns where the executable of a folder is, in a folder of its own, which it makes.
func place(abs string, cgo bool) (home, target string, err error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", "", err
	}
	key := abs
	if cgo {
		key += "\x00cgo"
	}
	sum := sha256.Sum256([]byte(key))
	home = filepath.Join(cache, "parhost", "plugins", hex.EncodeToString(sum[:8]))
	target = filepath.Join(home, filepath.Base(abs))
	if runtime.GOOS == "windows" {
		target += ".exe"
	}
	return home, target, os.MkdirAll(home, 0o755)
}

// explain adds to a failure what the go command said, and what kind of failure that is.
func explain(err error, output []byte) error {
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return ErrNoGo
	case len(output) == 0:
		return err
	}
	text := strings.TrimSpace(string(output))
	for _, known := range []struct {
		kind  error
		signs []string
	}{
		{ErrToolchain, []string{ownToolchain}},
		{ErrTooLarge, []string{"out of memory", "cannot allocate memory", "File size limit exceeded", "file too large"}},
		{ErrForbidden, []string{"permission denied", "Permission denied", "#include: open", "Error: file not found"}}, // assemblers try other folders then, and tell of the last
	} {
		if slices.ContainsFunc(known.signs, func(sign string) bool { return strings.Contains(text, sign) }) {
			return fmt.Errorf("%w (%w)\n%s", known.kind, err, text)
		}
	}
	return fmt.Errorf("%w\n%s", err, text)
}
