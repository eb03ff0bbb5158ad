package sandbox

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"slices"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/windows"

	"github.com/parhost/parhost/protocol"
)

// Launch is the start of one process in its box, and afterwards what is known about that process. Its methods may be called from any goroutine, but
// before Confirm has returned only by one goroutine at a time.
type Launch struct {
	box *Box
	cmd *exec.Cmd

	mu   sync.Mutex
	job  *job
	shut bool
}

// Wrap changes a command that would start the plugin so that it starts the plugin in the box, suspended. [Launch.Confirm] lets it run. If the host is
// killed in between, the process stays behind suspended.
func (b *Box) Wrap(cmd *exec.Cmd, _ int) (*Launch, error) {
	if err := unchanged(b.plugin, b.checksum); err != nil {
		return nil, err
	}
	j, err := openJob(&b.policy, b.processes())
	if err != nil {
		return nil, b.failed("job object", err, "")
	}
	attr := &syscall.SysProcAttr{}
	if cmd.SysProcAttr != nil {
		*attr = *cmd.SysProcAttr
	}
	attr.CreationFlags |= windows.CREATE_SUSPENDED
	if b.token != nil {
		attr.Token = syscall.Token(b.token.Token)
		own := &syscall.SecurityAttributes{SecurityDescriptor: uintptr(unsafe.Pointer(b.token.process))}
		own.Length = uint32(unsafe.Sizeof(*own))
		attr.ProcessAttributes, attr.ThreadAttributes = own, own
		attr.CreationFlags |= windows.DETACHED_PROCESS // it must not connect to the host's console
	}
	if cmd.Env == nil {
		cmd.Env = os.Environ()
	}
	cmd.SysProcAttr, cmd.Env = attr, environment(&b.policy, slices.Clone(cmd.Env))
	return &Launch{box: b, cmd: cmd, job: j}, nil
}

// Recheck does nothing: the plugin is checked before each start only.
func (*Launch) Recheck() error { return nil }

// StartError adds the stage and a hint to an error of [exec.Cmd.Start]. It returns nil for nil.
func (l *Launch) StartError(err error) error {
	if err == nil || l.box.token == nil {
		return err
	}
	switch {
	case errors.Is(err, windows.ERROR_PRIVILEGE_NOT_HELD):
		return l.box.failed("token", err, "the host's user needs the right to adjust memory quotas of a process (SeIncreaseQuotaPrivilege)")
	case errors.Is(err, windows.ERROR_ACCESS_DENIED):
		return l.box.failed("exec", err, "the host's user must be allowed to execute the plugin")
	}
	return err
}

// Sockets returns an empty string: plugins listen on the loopback address.
func (*Launch) Sockets() string { return "" }

// Confirm puts the process into its job object and lets it run.
func (l *Launch) Confirm(context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.shut {
		return nil
	}
	if err := l.job.take(l.cmd.Process.Pid); err != nil {
		return l.box.failed("job object", err, "")
	}
	return nil
}

var errNoSockets = errors.New("there are no folders for sockets on Windows")

// Dial returns an error: it is for socket folders of the sandbox, which has none here.
func (*Launch) Dial(context.Context, string) (net.Conn, error) { return nil, errNoSockets }

// Check returns an error: it is for socket folders of the sandbox, which has none here.
func (*Launch) Check(string) error { return errNoSockets }

// Kill kills the process, if it runs, and all processes that it started.
func (l *Launch) Kill() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.shut {
		l.job.kill()
	}
}

// Exit codes of processes that the kernel ended because they got no memory (ntstatus.h).
var noMemory = []uint32{uint32(windows.STATUS_NO_MEMORY), uint32(windows.STATUS_COMMITMENT_LIMIT)}

// Death says why the process ended, as far as Windows tells: it only has exit codes. A Go program that gets no memory says so only on stderr.
func (*Launch) Death(state *os.ProcessState, _ bool) Death {
	d := Death{Cause: protocol.CauseExit, Code: state.ExitCode()}
	if slices.Contains(noMemory, uint32(d.Code)) {
		d.Cause = protocol.CauseOutOfMemory
	}
	return d
}

// Counters returns what the job object has counted so far. It must be called before Close.
func (l *Launch) Counters() Counters {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.shut {
		return Counters{}
	}
	return Counters{MemoryPeak: l.job.peak()}
}

// Close releases everything and ends processes that still run. It may be called twice.
func (l *Launch) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.shut {
		l.shut = true
		l.job.close()
	}
}
