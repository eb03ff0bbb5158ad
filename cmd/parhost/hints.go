package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/sdk"
)

// These parts of hints are left out if the command line already has what they suggest.
const (
	autoHint   = "--sandbox auto takes the best that works"
	offHint    = "--sandbox off permits all"
	callsHint  = "--allow-net and --allow-fork permit more system calls"
	verifyHint = "parhost plugins verify looks closer"
	lockHint   = "parhost plugins lock writes one"
	withinHint = "--mode goroutine needs no worker"
)

// flagInHint matches a flag of parhost in a hint.
var flagInHint = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`(?:^|[ (])--([a-z][a-z-]*)`) })

// hintFor returns the parts of a hint that apply to the command and its flags. Parts are separated by "; ".
func hintFor(cmd *cobra.Command, err error, hint string) string {
	level := "off"
	if f := cmd.Flags().Lookup("sandbox"); f != nil {
		level = f.Value.String()
	}
	parts := slices.DeleteFunc(strings.Split(hint, "; "), func(part string) bool {
		switch part {
		case "":
			return true
		case autoHint:
			return level == "auto"
		case offHint:
			return level == "off"
		case callsHint:
			return isTrue(cmd, "allow-net") && isTrue(cmd, "allow-fork")
		case verifyHint:
			return cmd.Name() == "verify"
		case lockHint:
			return cmd.Name() == "lock"
		case withinHint:
			return !runsBuiltin(cmd)
		}
		return !has(cmd, part)
	})
	start, ok := errors.AsType[*host.StartError](err)
	if ok && start.Stage == "set-up" && level != "off" && refusedFile(start.Err.Error()) {
		parts = append(parts, fmt.Sprintf("--sandbox %s hides files: --ro PATH shows one to the plugin, --rw PATH lets it write there", level))
	}
	return strings.Join(parts, "; ")
}

// has reports whether a command has all flags that a part of a hint names. If the part names another parhost command, its flags belong to that
// command, and has returns true.
func has(cmd *cobra.Command, part string) bool {
	for _, found := range flagInHint().FindAllStringSubmatch(part, -1) {
		if cmd.Flags().Lookup(found[1]) == nil && !strings.Contains(part, "parhost ") {
			return false
		}
	}
	return true
}

// isTrue reports whether the command has a boolean flag of this name and it is true.
func isTrue(cmd *cobra.Command, name string) bool {
	f := cmd.Flags().Lookup(name)
	return f != nil && f.Value.String() == "true"
}

// runsBuiltin reports whether a command runs the items of a built-in workload in one mode. Such a workload can also run without workers.
func runsBuiltin(cmd *cobra.Command) bool {
	f := cmd.Flags().Lookup("plugin")
	if f == nil || isTrue(cmd, "compare") {
		return false
	}
	return slices.ContainsFunc(builtin, func(w sdk.AnyWorkload) bool { return w.Manifest().Name == f.Value.String() })
}

// refusedFile reports whether the text of a workload's error says that a file is missing or that access to it was denied.
func refusedFile(text string) bool {
	text = strings.ToLower(text)
	return slices.ContainsFunc([]error{syscall.ENOENT, syscall.EACCES, syscall.EPERM, syscall.EROFS}, func(err error) bool { return strings.Contains(text, err.Error()) })
}

// tooFewTasks is the hint if the system refuses to create processes or threads. The system also refuses a thread if no memory is left for its stack.
const tooFewTasks = "raise the limit of processes (ulimit -u, or the container's), or of memory (ulimit -d, ulimit -v); start fewer workers (--procs); give each more memory, if it has a limit (--memory)"

// startHint returns a hint for a worker that did not start.
func startHint(e *host.StartError) string {
	switch e.Cause {
	case host.CauseOutOfMemory:
		return "this machine, or its cgroup, has too little memory; --memory is the limit of each worker, if there is one"
	case host.CausePIDs:
		if strings.Contains(e.Err.Error(), "(Config.Sandbox.PIDs)") {
			return "--pids is the limit of each worker"
		}
		return tooFewTasks
	case host.CauseSeccomp:
		return callsHint + "; " + offHint
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

// ofSeveral reports whether a plugin exited because it serves several workloads and the host named none of them.
func ofSeveral(e *host.StartError) bool {
	return slices.ContainsFunc(e.Stderr, func(line string) bool { return strings.Contains(line, ": name one of ") })
}

// errnoHint returns a hint for a start that failed because the system refused something, or "" if it failed for another reason.
func errnoHint(e *host.StartError) string {
	if e.Stage == "set-up" { // in this stage the system refused something to the workload, not to the host
		return ""
	}
	path, _ := errors.AsType[*fs.PathError](e.Err)
	switch {
	case errors.Is(e.Err, syscall.ENOEXEC):
		return "it is no program for " + runtime.GOOS + "/" + runtime.GOARCH + ": build it for this machine, or begin a script with #! and its interpreter"
	case errors.Is(e.Err, syscall.EMFILE), errors.Is(e.Err, syscall.ENFILE):
		return "each worker takes some ten open files: raise the limit (ulimit -n); start fewer workers (--procs)"
	case errors.Is(e.Err, syscall.EAGAIN):
		return tooFewTasks
	case errors.Is(e.Err, syscall.ENOMEM):
		return "this machine has too little memory for so many workers; start fewer workers (--procs)"
	case errors.Is(e.Err, syscall.ENOSPC), errors.Is(e.Err, syscall.EDQUOT):
		return "make room in " + os.TempDir() + ", or set TMPDIR to a folder that has room"
	case e.Stage == "sockets":
		return "set TMPDIR to a folder that is there and can be written, with a short path that has no | and no line break in it"
	case path != nil && strings.HasPrefix(path.Path, "/proc/"):
		return "mount /proc: to start workers, parhost reads there where its own file is; " + withinHint
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
