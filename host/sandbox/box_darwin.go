package sandbox

import (
	"context"
	"debug/macho"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/parhost/parhost/host/sandbox/internal/rlimit"
	"github.com/parhost/parhost/host/sandbox/internal/seatbelt"
	"github.com/parhost/parhost/internal/plain"
)

// sandboxExec executes a program behind the walls of a profile. It has been deprecated since macOS 10.13 but still exists. Apple's replacement is for
// signed applications, which contain their own walls. Calling libsandbox, which sandbox-exec uses, would need cgo.
const sandboxExec = "/usr/bin/sandbox-exec"

// Box is the sandbox of one pool. It holds what the pool's workers share. Its methods may be called from any goroutine.
type Box struct {
	policy           Policy
	plugin, checksum string           // compared before each start; the checksum may be empty
	stage            string           // path of the host's own program, which sets the limits; empty at level off without limits
	profile          seatbelt.Profile // without the folder of the socket
	limits           []rlimit.Limit
}

// Open makes a sandbox for workers that run plugin, an executable or script. At level basic, a test process has tried to get past the walls before
// Open returns. Each command that is wrapped must name its socket folder in the variable PLUGIN_UNIX_SOCKET_DIR.
//
// The error matches [ErrNotSupported] if macOS cannot provide the level or enforce a limit, and [ErrNeedsFiles] if the plugin could not run because
// it needs files that the policy does not open.
//
// The plugin is hashed here and before each start. A start fails with a [*ChangedError] if the plugin has changed. checksum is the plugin's SHA-256
// in hexadecimal, or empty. If it is set, the error is a [*ChecksumError] if the plugin has another one. A process that may write to the file can
// still change it between hashing and execution. Only on Linux are the bytes that run the bytes that were hashed.
func Open(ctx context.Context, policy Policy, plugin, checksum string) (*Box, error) {
	asked := policy
	policy, err := policy.complete()
	if err != nil {
		return nil, fmt.Errorf("sandbox: %w", err)
	}
	if err := asked.notOnMac(); err != nil {
		return nil, err
	}
	if policy.Level > Off {
		if err := rehearsed(ctx, playOf(&policy)); err != nil {
			return nil, err
		}
	}
	return openBox(ctx, policy, plugin, checksum)
}

// openBox opens a box for a complete policy that macOS can enforce.
func openBox(ctx context.Context, policy Policy, plugin, checksum string) (*Box, error) {
	checksum, err := hashed(ctx, plugin, checksum)
	if err != nil {
		return nil, err
	}
	b := &Box{policy: policy, plugin: plugin, checksum: checksum}
	if policy.Level == Off && !policy.limited() {
		return b, nil
	}
	if b.stage, err = os.Executable(); err != nil {
		return nil, fmt.Errorf("sandbox: %w", err)
	}
	if err := b.openLimits(); err != nil {
		return nil, err
	}
	if policy.Level == Off {
		return b, nil
	}
	b.profile = seatbelt.Profile{Net: policy.AllowNet, Fork: policy.AllowFork}
	if _, err := os.Stat(seatbelt.Loader); err == nil {
		b.profile.Loader = true
	}
	for _, bind := range policy.ReadOnly {
		if err := b.open(&b.profile.ReadOnly, bind.Source); err != nil {
			return nil, b.failed("files", err, "")
		}
	}
	for _, bind := range policy.ReadWrite {
		if err := b.open(&b.profile.ReadWrite, bind.Source); err != nil {
			return nil, b.failed("files", err, "")
		}
	}
	if err := b.read(); err != nil {
		return nil, err
	}
	return b, nil
}

// open adds the real path of a file or folder to a list of the profile.
func (b *Box) open(to *[]string, path string) error {
	really, err := filepath.EvalSymlinks(path)
	if err != nil {
		return err
	}
	*to = append(*to, really)
	if really != path && !slices.Contains(b.profile.Links, path) {
		b.profile.Links = append(b.profile.Links, path)
	}
	return nil
}

func (b *Box) openLimits() error {
	add := func(resource int, value uint64) {
		b.limits = append(b.limits, rlimit.Limit{Resource: resource, Value: value})
	}
	p := &b.policy
	switch {
	case p.Level > Off && len(p.ReadWrite) == 0:
		// Such a worker can create files only in the folder of its socket, which lies on the host's disk. The limit of 0 bytes keeps these files
		// empty.
		add(unix.RLIMIT_FSIZE, 0)
	case p.FileBytes > 0:
		add(unix.RLIMIT_FSIZE, uint64(p.FileBytes))
	}
	if p.Level > Off {
		add(unix.RLIMIT_CORE, 0)
	}
	if p.OpenFiles > 0 {
		var most unix.Rlimit
		if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &most); err != nil {
			return os.NewSyscallError("getrlimit", err)
		}
		add(unix.RLIMIT_NOFILE, min(uint64(p.OpenFiles), most.Max))
	}
	return nil
}

// read finds out which files the plugin needs in order to run, and refuses a plugin that could not run.
func (b *Box) read() error {
	path, err := filepath.Abs(b.plugin)
	if err != nil {
		return b.failed("plugin", err, "")
	}
	var programs []string
	if err := b.open(&programs, path); err != nil {
		return b.failed("plugin", err, "")
	}
	b.profile.Executable = programs[0]
	program, err := readProgram(programs[0])
	if err != nil {
		return b.failed("plugin", err, "")
	}
	e := &NeedsFilesError{Path: path, Reason: "loads libraries of its own", Static: true}
	if len(program.Interpreter) > 0 {
		e.Static = false
		e.Reason = "is a script for " + strings.Join(program.Interpreter, " ")
		for _, name := range interpreters(program.Interpreter) {
			if err := b.open(&b.profile.Interpreters, name); err != nil {
				return b.failed("plugin", err, "")
			}
		}
	}
	started := append(slices.Clone(b.profile.Interpreters), found(program.Libraries)...)
	for _, file := range append(programs, started...) {
		if i := slices.IndexFunc(b.profile.ReadWrite, func(folder string) bool { return lies(file, folder) }); i >= 0 {
			return changeableError("what the plugin is started by,", file, b.policy.ReadWrite[i].Source)
		}
	}
	for _, file := range started {
		if folder := seatbelt.Home(file); !b.opens(file) && !slices.Contains(e.Folders, folder) {
			e.Folders = append(e.Folders, folder)
		}
	}
	if len(e.Folders) > 0 {
		return e
	}
	return nil
}

func readProgram(path string) (*seatbelt.Program, error) {
	f, err := plain.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	cpu := macho.CpuArm64
	if runtime.GOARCH == "amd64" {
		cpu = macho.CpuAmd64
	}
	program, err := seatbelt.Read(f, path, cpu)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return program, nil
}

// interpreters returns the programs that a script's first line starts: the one that the kernel executes and, if that is env, the one that env
// executes.
func interpreters(words []string) []string {
	programs := words[:1]
	if filepath.Base(words[0]) != "env" {
		return programs
	}
	for _, w := range words[1:] {
		if strings.HasPrefix(w, "-") || strings.Contains(w, "=") {
			continue
		}
		if path, err := exec.LookPath(w); err == nil {
			programs = append(slices.Clone(programs), path)
		}
		break
	}
	return programs
}

// found returns the libraries that exist, each at the first path at which the linker looks. A library that is missing may be in the system's cache.
func found(libraries [][]string) []string {
	var files []string
	for _, candidates := range libraries {
		for _, c := range candidates {
			if really, err := filepath.EvalSymlinks(c); err == nil {
				files = append(files, really)
				break
			}
		}
	}
	return files
}

// opens reports whether the policy lets a plugin read and run a file. file is its real path.
func (b *Box) opens(file string) bool {
	return slices.ContainsFunc(slices.Concat(b.profile.ReadOnly, seatbelt.System), func(folder string) bool { return lies(file, folder) })
}

// lies reports whether a path is a folder, or lies below it.
func lies(file, folder string) bool {
	return file == folder || strings.HasPrefix(file, strings.TrimSuffix(folder, "/")+"/")
}

func (b *Box) failed(stage string, err error, hint string) error {
	return &StageError{Level: b.policy.Level, Stage: stage, Err: err, Hint: hint}
}

// Level returns the level of the box.
func (b *Box) Level() Level { return b.policy.Level }

// PIDs returns 0: macOS counts the processes of users, not of workers.
func (*Box) PIDs() int { return 0 }

// Layers describes in words the layers that confine each worker.
func (b *Box) Layers() []string {
	var layers []string
	if b.policy.Level > Off {
		layers = append(layers, "seatbelt")
	}
	if len(b.limits) > 0 {
		layers = append(layers, "rlimits")
	}
	return layers
}

// Checksum returns the SHA-256 of the plugin, in hexadecimal.
func (b *Box) Checksum() string { return b.checksum }

// Close does nothing: the box holds no resources.
func (*Box) Close() {}

// Wrap changes a command that would start the plugin so that it starts the plugin in the box. Arguments, environment, folder and descriptors of the
// command apply to the plugin. The descriptors keep their numbers, and all others are closed. macOS itself removes variables whose names begin with
// DYLD_.
func (b *Box) Wrap(cmd *exec.Cmd, _ int) (*Launch, error) {
	if err := unchanged(b.plugin, b.checksum); err != nil {
		return nil, err
	}
	l := &Launch{}
	if b.stage == "" {
		return l, nil
	}
	env := slices.Clone(cmd.Env)
	if cmd.Env == nil {
		env = os.Environ()
	}
	args := []string{cmd.Path}
	if b.policy.Level > Off {
		var err error
		if l.sockets, err = socketFolder(variable(env, envSockets)); err != nil {
			return nil, err
		}
		env = setVariable(env, envSockets, l.sockets)
		profile := b.profile
		profile.Sockets = l.sockets
		if args, err = profile.Arguments(); err != nil {
			return nil, b.failed("profile", err, "")
		}
		args = append(append([]string{sandboxExec}, args...), profile.Executable)
	}
	if len(cmd.Args) > 1 {
		args = append(args, cmd.Args[1:]...)
	}
	spec := rlimit.Spec{Keep: len(cmd.ExtraFiles), Limits: b.limits}
	cmd.Path, cmd.Args, cmd.Err = b.stage, append([]string{b.stage}, args...), nil
	cmd.Env = setVariable(env, rlimit.Variable, spec.String())
	return l, nil
}

// longestSocket is the longest path in bytes that fits into sockaddr_un with a zero byte after it.
const longestSocket = 103

// socketFolder returns the real path of the socket folder. The plugin must use that path, because a profile knows no other.
func socketFolder(folder string) (string, error) {
	if folder == "" {
		return "", errors.New("sandbox: no folder for the socket in the command's environment (" + envSockets + ")")
	}
	really, err := filepath.EvalSymlinks(folder)
	if err != nil {
		return "", fmt.Errorf("sandbox: %w", err)
	}
	if longest := len(really) + len("/plugin4294967295"); longest > longestSocket {
		return "", fmt.Errorf("sandbox: a socket in %q would have a path of %d bytes, the limit is %d (Policy.TempDir)", really, longest, longestSocket)
	}
	return really, nil
}
