package child

import (
	"context"
	"errors"
	"os/exec"
	"slices"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/parhost/parhost/host/sandbox"
	"github.com/parhost/parhost/internal/family"
	"github.com/parhost/parhost/internal/litter"
)

// Options are the settings that the processes of a pool have in common.
type Options struct {
	Path     string // path of the executable, for people; the sandbox determines what is executed
	Source   string // path of the file whose bytes all processes execute
	Checksum string // SHA-256 of these bytes, in hexadecimal; empty if any will do
	Env      []string
	Dir      string // working folder; empty means the host's
	TempDir  string // folder in which the folder of sockets is made; empty means the system's
	Policy   sandbox.Policy

	MaxOutputBytes int // see [New]
	Logger         hclog.Logger
	Hurry          <-chan struct{} // closed when the pool is to end at once
}

// Launcher starts the processes of one pool. It owns what they share: the sandbox, the folder of sockets, the thread that starts processes, and the reaper of
// the processes that they leave behind.
type Launcher struct {
	Box    *sandbox.Box
	Folder *litter.Folder // folder of sockets

	options Options
	spawner *spawner
	reaper  *reaper
	ooms    oomWatch
}

// folderPrefix begins the names of pools' folders.
const folderPrefix = "parhost"

// CheckTempDir checks whether a pool can keep its sockets in the folder dir. It returns the folder that the pool would use: dir itself or, for "", the default.
func CheckTempDir(dir string) (string, error) {
	return litter.Check(folderPrefix, dir, socketNameBytes())
}

// socketNameBytes is the length of what go-plugin adds to the path of a pool's folder: two names with random numbers of up to ten digits.
func socketNameBytes() int {
	if UsesTCP {
		return 0
	}
	return len("/plugin-dir4294967295/plugin4294967295")
}

// SocketsError is the error of a pool that has no place for its sockets.
type SocketsError struct{ Err error }

func (e *SocketsError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *SocketsError) Unwrap() error { return e.Err }

// Open opens the executable and makes everything that the processes share. The error is a [*SocketsError], or else that of [sandbox.Open].
func Open(ctx context.Context, o Options) (*Launcher, error) {
	if o.Policy.TempDir == "" {
		o.Policy.TempDir = o.TempDir
	}
	box, err := sandbox.Open(ctx, o.Policy, o.Source, o.Checksum)
	if errors.As(err, new(*litter.FolderError)) {
		return nil, &SocketsError{err}
	}
	if err != nil {
		return nil, err
	}
	folder, err := litter.Open(folderPrefix, o.TempDir, socketNameBytes())
	if err != nil {
		box.Close()
		return nil, &SocketsError{err}
	}
	if err := family.Markable(); err != nil && box.Level() != sandbox.Strict {
		o.Logger.Warn("what a worker starts is not found, and may outlive the pool, if it leaves the worker's session and environment", "err", err)
	}
	return &Launcher{Box: box, Folder: folder, options: o, spawner: newSpawner(), reaper: openReaper(folder.Path(), o.Logger)}, nil
}

// removeTime is how long the end of a pool may take to remove the files that its workers have left in their folders. The next host removes the rest.
const removeTime = time.Second

// Close releases everything. All processes must be gone.
func (l *Launcher) Close() {
	l.reaper.close()
	l.spawner.close()
	l.Box.Close()
	ctx, cancel := context.WithTimeout(context.Background(), removeTime)
	defer cancel()
	if err := l.Folder.Close(ctx); err != nil {
		l.options.Logger.Warn("a folder is left for the next host to remove", "folder", l.Folder.Path(), "err", err)
	}
}

// command returns the command that starts a process. The process has the variables env in addition to those that all processes have.
func (l *Launcher) command(env []string) *exec.Cmd {
	cmd := exec.Command(l.options.Path)
	cmd.Env = slices.Concat(l.options.Env, env)
	cmd.Dir = l.options.Dir
	cmd.SysProcAttr = isolate()
	return cmd
}
