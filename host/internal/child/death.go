package child

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/parhost/parhost/host/sandbox"
	"github.com/parhost/parhost/internal/arena"
	"github.com/parhost/parhost/protocol"
)

// foreignSignals are signals that a program does not get because of its own faults: other processes send them.
var foreignSignals = []string{"SIGKILL", "SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2"}

// Death is how a process ended, as far as its host can know.
type Death struct {
	Cause    protocol.Cause
	Message  string // how the process ended, and the limit that it reached
	ExitCode int    // -1 if a signal ended the process, or if it has not ended
	Signal   string // such as SIGKILL, empty without one
	Stderr   []string
	Dump     string          // output of the process from the line on that says why it died
	Usage    *protocol.Usage // nil if it is not known
	Outside  bool            // another process may have killed it
}

// LastOutput returns the last lines that the process wrote. It waits for the rest of the output, but at most for the time limit.
func (p *Process) LastOutput(limit time.Duration) []string { return p.output.lines(limit) }

// smallStack is a stack limit, in bytes. With a lower limit a program may end by SIGSEGV through no fault of its own, even before its first instruction:
// arguments, environment and the stack of a library written for the usual 8 MiB have to fit in it.
const smallStack = 1 << 20

// LastState says how the process ended, with its exit code (-1 for a signal) and the name of the signal.
func (p *Process) LastState() (message string, code int, signal string) {
	select {
	case <-p.exited:
	default:
		return "process does not end", -1, ""
	}
	if p.state == nil {
		return "process was reaped by another part of the program", -1, ""
	}
	if name, text := signalOf(p.state); name != "" {
		if limit := stackLimit(); name == "SIGSEGV" && limit >= 0 && limit < smallStack {
			text += fmt.Sprintf("; the stack is limited to %d bytes, ulimit -s", limit)
		}
		return fmt.Sprintf("process ended by %s (%s)", name, text), -1, name
	}
	return fmt.Sprintf("process ended with exit code %d", p.state.ExitCode()), p.state.ExitCode(), ""
}

// Death describes the end of the process. It is called once, after Bury, because it claims a death that the kernel has counted. decided says that the host has
// killed the process for a reason of its own. Then Cause is only what the kernel has counted or sent, and Message only names the limit that the process
// reached.
func (p *Process) Death(decided bool) Death {
	_, code, signal := p.LastState()
	d := Death{ExitCode: code, Signal: signal, Stderr: p.output.lines(0), Dump: p.output.lastWords(), Usage: p.usage()}
	if decided {
		d.Cause = p.death.Cause
		d.Message = p.limitMet(d.Cause)
		return d
	}
	d.Cause, d.Message = p.diagnose(d.Stderr)
	if d.Cause == protocol.CauseSignal && slices.Contains(foreignSignals, signal) && p.cpuLimitMet(signal) == "" { // the host knows nothing that explains the signal
		d.Outside = true
	}
	return d
}

// diagnose says what the process died of, with the limit that it reached. It is called if the host did not kill the process.
func (p *Process) diagnose(stderr []string) (cause protocol.Cause, message string) {
	message, _, signal := p.LastState()
	cause = p.death.Cause
	cpuLimit := p.cpuLimitMet(signal)
	switch {
	case outOfMemory(stderr):
		cause = protocol.CauseOutOfMemory
	case cause == protocol.CauseExit && outOfThreads(stderr): // the process says so itself: the limit of setrlimit(2) is not reported otherwise
		cause = protocol.CausePIDs
	case cause == protocol.CauseOutOfMemory, cause == protocol.CauseEscape:
		message = "process was killed"
	case cpuLimit != "": // a CPU limit is more certain than a death for lack of memory, which may be that of any process of the machine
		message += cpuLimit
	case signal == "SIGKILL" && p.EndedItself() && p.launcher.ooms.claim(p.oomsBefore):
		cause, message = protocol.CauseOutOfMemory, "process was killed by the kernel"
	}
	return cause, message + p.limitMet(cause)
}

// Faulted reports whether the process died because it accessed memory that it must not access.
func (d *Death) Faulted() bool {
	return d.Signal == "SIGSEGV" || slices.ContainsFunc(d.Stderr, func(line string) bool { return strings.HasPrefix(line, "unexpected fault address") })
}

// usage returns what the process had used when it ended, nil if that is not known.
func (p *Process) usage() *protocol.Usage {
	if !isClosed(p.exited) || p.state == nil {
		return nil
	}
	return &protocol.Usage{User: p.state.UserTime(), System: p.state.SystemTime(), MaxRSS: maxRSS(p.state)}
}

// tickError is how far the kernel's two counts of CPU time may differ for a process that has used little.
const tickError = 500 * time.Millisecond

// cpuLimitMet says in words which limit of CPU time made the kernel send a signal. It is empty if none did. The kernel compares the limit with the time counted
// by clock ticks, and reports the time counted by the scheduler. They differ by some percent on a busy machine, and by more in a short life.
func (p *Process) cpuLimitMet(signal string) string {
	if signal != "SIGXCPU" && (signal != "SIGKILL" || !p.EndedItself()) {
		return ""
	}
	limit, used := cpuLimit(signal), p.usage()
	switch reached := limit > 0 && used != nil && used.User+used.System >= limit-limit/10-tickError; {
	case reached && signal == "SIGXCPU":
		return fmt.Sprintf(": it used %v of CPU time, the soft limit is %v (RLIMIT_CPU, ulimit -St)", (used.User + used.System).Round(time.Millisecond), limit)
	case reached:
		return fmt.Sprintf(": it used %v of CPU time, the limit is %v (ulimit -t)", (used.User + used.System).Round(time.Millisecond), limit)
	case signal == "SIGXCPU": // the process has set a lower limit itself
		return ": it reached a limit of its CPU time (RLIMIT_CPU)"
	default:
		return ""
	}
}

// limitMet names the limit of the sandbox that led to a death with this cause.
func (p *Process) limitMet(cause protocol.Cause) string {
	policy := &p.launcher.options.Policy
	switch cause {
	case protocol.CauseOutOfMemory:
		if policy.MemoryBytes == 0 { // the machine's memory ran out
			return ": out of memory" + p.memoryLimits()
		}
		return fmt.Sprintf(": out of memory, the limit is %d bytes (Config.Sandbox.MemoryBytes)", policy.MemoryBytes)
	case protocol.CausePIDs:
		if p.launcher.Box.PIDs() == 0 { // a limit of the system was reached
			return "; it was refused a process or a thread" + TasksLimit() + p.memoryLimits()
		}
		return fmt.Sprintf("; it was refused a process or a thread: the limit is %d (Config.Sandbox.PIDs)", p.launcher.Box.PIDs())
	case protocol.CauseEscape:
		return ": it had left the cgroup that holds its limits (Config.Sandbox)"
	case protocol.CauseSeccomp:
		return "; its sandbox forbids the system call that it made"
	case protocol.CauseFileSize:
		if limit := fileLimit(); limit >= 0 && (policy.FileBytes == 0 || limit < policy.FileBytes) {
			return fmt.Sprintf("; a file grew too large: the limit is %d bytes (ulimit -f)", limit)
		}
		if policy.FileBytes == 0 && policy.Level == sandbox.Off { // the process has set a limit itself
			return "; a file grew too large (RLIMIT_FSIZE)"
		}
		return fmt.Sprintf("; a file grew too large: the limit is %d bytes (Config.Sandbox.FileBytes)", policy.FileBytes)
	default:
		return ""
	}
}

// memoryLimits describes the limits at which the kernel refuses a worker memory, including the stacks of its threads.
func (p *Process) memoryLimits() string {
	words := ""
	if limit := arena.AddressSpace(); limit > 0 {
		words = fmt.Sprintf("; address space is limited to %d bytes (ulimit -v)", limit)
	}
	if limit := dataLimit(); limit >= 0 {
		words += fmt.Sprintf("; private memory is limited to %d bytes (ulimit -d)", limit)
	}
	if limit := p.launcher.options.Policy.MemoryBytes; limit > 0 {
		words += fmt.Sprintf("; the limit of memory, in which the stacks of threads count, is %d bytes (Config.Sandbox.MemoryBytes)", limit)
	}
	return words
}
