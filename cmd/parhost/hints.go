package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/parhost/parhost/host"
)

// Parts of hints that help only where the command line does not have them already.
const (
	autoHint   = "--sandbox auto takes the best that works"
	verifyHint = "parhost plugins verify looks closer"
)

// hintFor returns the parts of a hint that can help the user of a command.
func hintFor(cmd *cobra.Command, err error, hint string) string {
	level := "off"
	if f := cmd.Flags().Lookup("sandbox"); f != nil {
		level = f.Value.String()
	}
	parts := slices.DeleteFunc(strings.Split(hint, "; "), func(part string) bool {
		return part == "" || part == autoHint && level == "auto" || part == verifyHint && cmd.Name() == "verify"
	})
	start, ok := errors.AsType[*host.StartError](err)
	if ok && start.Stage == "set-up" && level != "off" && refusedFile(start.Err.Error()) {
		parts = append(parts, fmt.Sprintf("--sandbox %s hides files: --ro PATH shows one to the plugin, --rw PATH lets it write there", level))
	}
	return strings.Join(parts, "; ")
}

// refusedFile reports whether an error of a workload, of which only the text is known, is that of a file which is not there or may not be opened.
func refusedFile(text string) bool {
	text = strings.ToLower(text)
	return slices.ContainsFunc([]error{syscall.ENOENT, syscall.EACCES, syscall.EPERM, syscall.EROFS}, func(err error) bool { return strings.Contains(text, err.Error()) })
}

// tooFewTasks says what to do where the system refuses processes and threads. It also refuses a thread for whose stack a worker has no memory left.
const tooFewTasks = "start fewer workers (--procs), or raise the limit of processes (ulimit -u, or the container's) or of memory (--memory, ulimit -d, ulimit -v)"

// startHint says what to do about a worker that did not start.
func startHint(e *host.StartError) string {
	switch e.Cause {
	case host.CauseOutOfMemory:
		return "--memory is the limit of each worker, if there is one; else this machine has too little"
	case host.CausePIDs:
		if strings.Contains(e.Err.Error(), "(Config.Sandbox.PIDs)") {
			return "--pids is the limit of each worker"
		}
		return tooFewTasks
	case host.CauseSeccomp:
		return "--allow-net and --allow-fork permit more system calls; --sandbox off permits all"
	case host.CauseFileSize:
		return "--file-size is the limit of a file that a worker writes, and so is the shell's limit (ulimit -f)"
	}
	if hint := errnoHint(e); hint != "" {
		return hint
	}
	if ofSeveral(e) {
		return "write the workload's name behind the plugin's, with a colon between them"
	}
	text := e.Err.Error()
	switch {
	case strings.Contains(text, "(Config.StartTimeout)"):
		return "--start-timeout gives a slow start more time"
	case strings.Contains(text, "(Config.SetupTimeout)"):
		return "--setup-timeout gives a long set-up more time"
	case e.Stage == "set-up":
		return "the workload's own set-up failed: what it needs may be missing; " + verifyHint
	default:
		return verifyHint
	}
}

// ofSeveral reports whether a plugin ended because it serves several workloads and was not asked for one of them.
func ofSeveral(e *host.StartError) bool {
	return slices.ContainsFunc(e.Stderr, func(line string) bool { return strings.Contains(line, ": name one of ") })
}

// errnoHint says what to do about what the system refused, empty if that is not why a start failed.
func errnoHint(e *host.StartError) string {
	if e.Stage == "set-up" { // the system refused the workload something, not the host
		return ""
	}
	path, _ := errors.AsType[*fs.PathError](e.Err)
	switch {
	case errors.Is(e.Err, syscall.ENOEXEC):
		return "it is no program for " + runtime.GOOS + "/" + runtime.GOARCH + ": build it for this machine, or begin a script with #! and its interpreter"
	case errors.Is(e.Err, syscall.EMFILE), errors.Is(e.Err, syscall.ENFILE):
		return "each worker takes some ten open files: lower --procs, or raise the limit (ulimit -n)"
	case errors.Is(e.Err, syscall.EAGAIN):
		return tooFewTasks
	case errors.Is(e.Err, syscall.ENOMEM):
		return "this machine has too little memory for so many workers: lower --procs"
	case errors.Is(e.Err, syscall.ENOSPC), errors.Is(e.Err, syscall.EDQUOT):
		return "make room in " + os.TempDir() + ", or set TMPDIR to a folder that has room"
	case e.Stage == "sockets":
		return "set TMPDIR to a folder that is there and can be written, with a short path that has no | and no line break in it"
	case path != nil && strings.HasPrefix(path.Path, "/proc/"):
		return "mount /proc, or take --mode goroutine: to start workers, parhost reads there where its own file is"
	case errors.Is(e.Err, syscall.EROFS):
		return "set TMPDIR to a folder that can be written"
	case errors.Is(e.Err, fs.ErrPermission):
		return "this user may not execute it: look at its permissions (chmod +x), at those of the folders on its path, and for a mount with noexec"
	case errors.Is(e.Err, fs.ErrNotExist):
		if _, err := os.Stat(e.Plugin); err == nil {
			return "the file is there, but not what runs it: a script's interpreter (its first line, which must not end with a carriage return), or a program's dynamic loader"
		}
		return "the executable is gone: build or install it again"
	default:
		return ""
	}
}
