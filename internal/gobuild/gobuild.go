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
	// Cgo allows packages that contain C. If it is false, a folder that links such a package is refused.
	Cgo bool
	// Began is called at most once: when the folder has not been built before, or when the build takes longer than a second. It may be nil.
	Began func()
	// Outside is called before the build of a folder that takes sources from outside its own module and outside the module cache, unless the last build
	// of the folder took them from the same modules. modules are the folders of these modules, which go.mod or go.work names. It may be nil.
	Outside func(modules []string)
}

// CError says that a folder cannot be built without a C compiler.
type CError struct {
	Packages []string // import paths of the packages that contain C
}

func (e *CError) Error() string { return "there is C in " + strings.Join(e.Packages, ", ") }

var (
	// ErrNoGo means that the go command is not in PATH.
	ErrNoGo = errors.New("there is no go command here")
	// ErrNoWall means that this system has no Landlock, so that a C compiler cannot be confined.
	ErrNoWall = errors.New("folders with C are built only where Landlock confines the compiler (Linux 5.13 and newer)")
	// ErrOutside means that a symbolic link or an #include line leads to a source outside the module.
	ErrOutside = errors.New("lies outside of its module")
	// ErrToolchain means that the folder asks for another version of Go, which is not downloaded unless the user allows it.
	ErrToolchain = errors.New("the folder asks for another version of Go")
	// ErrLibrary means that the folder's package is not main, so there is no executable.
	ErrLibrary = errors.New("it is a library, not a program: its package is not main")
	// ErrTooLarge means that a process of the build reached its memory limit or its file size limit.
	ErrTooLarge = fmt.Errorf("a process of the build may take %d GiB of memory, and write files of %d GiB", maxMemoryBytes>>30, maxFileBytes>>30)
	// ErrForbidden means that Landlock kept the build from opening a file.
	ErrForbidden = errors.New("the build tried to open a file that it may not")
)

// quietTime is how long a build may run before [Options.Began] is called, if the executable exists already.
const quietTime = time.Second

// Build builds the Go package in a folder into the user's cache, and returns the path of the executable. Without C the executable is linked
// statically, so that it needs no files in a sandbox. Build first downloads missing modules; this executes none of their code.
//
// Several builds of the same folder may run at once. Each replaces the executable in one step when it is done.
func Build(ctx context.Context, dir string, o Options) (path string, err error) {
	began := sync.OnceFunc(func() {
		if o.Began != nil {
			o.Began()
		}
	})
	timer := time.AfterFunc(quietTime, began)
	defer func() {
		if !timer.Stop() {
			began() // if the call has begun, this waits for its end
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
	// This folder is private to this build. It lies on the file system of the target, so that the executable can be renamed into place in one step.
	own, err := litter.Open(newPrefix, home, 0)
	if f, ok := errors.AsType[*litter.FolderError](err); ok { // a FolderError's text is about sockets, which do not matter here
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
	if os.Link(target, made) != nil { // go build does not rebuild an executable that is up to date
		began()
	}
	outside := strings.Join(s.outside, "\n")
	said, err := os.ReadFile(target + outsideSuffix) // the list of the last build
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
	output := head{most: maxWords}
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
	if err != nil && runtime.GOOS == "windows" { // Windows does not replace a program that is running, but can rename it
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

// outsideSuffix is appended to the name of an executable. That file lists the outside modules that [Options.Outside] was last called with.
const outsideSuffix = ".outside"

// archive is how a file in the format of ar(5) begins. The go command writes an archive for a package that is not main.
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

// newPrefix begins the names of the private folders of builds.
const newPrefix = "new"

// Built reports whether [Build] made the executable at path.
func Built(path string) bool {
	cache, err := os.UserCacheDir()
	return err == nil && filepath.Dir(filepath.Dir(path)) == filepath.Join(cache, "parhost", "plugins")
}

// place makes a folder in the user's cache for the executable of the package folder abs, and returns that folder and the executable's path.
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

// explain adds the go command's output to an error, and wraps the value, such as [ErrTooLarge], that the output matches.
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
		{ErrForbidden, []string{"permission denied", "Permission denied", "#include: open", "Error: file not found"}}, // an assembler then tries other folders, and reports the last one
	} {
		if slices.ContainsFunc(known.signs, func(sign string) bool { return strings.Contains(text, sign) }) {
			return fmt.Errorf("%w (%w)\n%s", known.kind, err, text)
		}
	}
	return fmt.Errorf("%w\n%s", err, text)
}
