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

// Options say what the processes of a pool have in common.
type Options struct {
	Path     string // the executable, for people: the sandbox knows what is executed
	Source   string // the file whose bytes all processes execute
	Checksum string // of these bytes, SHA-256 in hexadecimal; empty if any will do
	Env      []string
	Dir      string // working folder; empty is the host's
	TempDir  string // where the folder of sockets is made; empty is the system's
	Policy   sandbox.Policy

	MaxOutputBytes int // see [New]
	Logger         hclog.Logger
	Hurry          <-chan struct{} // closed when the pool is to end at once
}

// Launcher starts the processes of one pool. It owns what they share: the sandbox, the folder of sockets, the thread that starts them, and the
// reaper of what they leave behind.
type Launcher struct {
	Box    *sandbox.Box
	Folder *litter.Folder // of sockets

	options Options
	spawner *spawner
	reaper  *reaper
	ooms    oomWatch
}

// folderPrefix is what the names of pools' folders begin with.
const folderPrefix = "parhost"

// CheckTempDir reports whether sockets can be kept in a folder, and returns the folder that would be used: dir itself or, for "", the default.
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

// Unwrap gives the cause.
func (e *SocketsError) Unwrap() error { return e.Err }

// Open opens the executable and makes what the processes share. The error is a [*SocketsError], or else that of [sandbox.Open].
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

// removeTime is how long the end of a pool may take to remove what its workers have left in their folders. The next host removes the rest.
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

// command returns the command that starts a process, which has the environment variables env beside those that all processes have.
func (l *Launcher) command(env []string) *exec.Cmd {
	cmd := exec.Command(l.options.Path)
	cmd.Env = slices.Concat(l.options.Env, env)
	cmd.Dir = l.options.Dir
	cmd.SysProcAttr = isolate()
	return cmd
}
