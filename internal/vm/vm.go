//go:build linux

// Package vm boots a Linux kernel in a virtual machine with a few files and a list of commands, and returns the outcome of each command. Tests use
// it to run on kernels other than the machine's own.
package vm

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// QEMU is the program that runs a machine. It emulates the processor. That takes ten times as long as hardware virtualization, but works
// everywhere: rented virtual machines seldom support nested ones.
const QEMU = "qemu-system-x86_64"

// CommandsFile is where pid 1 finds the list of commands, in JSON.
const CommandsFile = "/commands.json"

// Machine describes a virtual machine.
type Machine struct {
	Kernel    string // path of a kernel, a bzImage
	Init      string // path of the program built from package vm/init
	Options   string // further options of the kernel's command line, such as lsm=yama
	MemoryMiB int
	CPUs      int
	Files     map[string]string // path inside → path outside; all users may execute them
	Commands  []Command         // run one after the other
	// Silence is the time without an event after which the machine counts as stuck. Once booted, it sends an event every second; an emulated machine
	// beside others is slow.
	Silence time.Duration
}

// Command is one program that runs inside.
type Command struct {
	Name string
	Args []string // the first is the path of the program
	Env  []string
	// UID is the user id, and the only group id.
	UID int
	// Cgroup is a cgroup, below the mount of version 2, that is made for the command and delegated to its user with all controllers. If it is empty,
	// the command runs in the root cgroup.
	Cgroup string
	// Settings maps files to what is written to them before the command runs. They are not restored.
	Settings map[string]string
	// Seconds is the time after which the command, and everything that it has started, is killed.
	Seconds int
}

// Result is the outcome of a command.
type Result struct {
	Ran    bool // false: the machine did not get to this command
	Code   int  // the exit code, -1 after a signal
	Output string
	Took   time.Duration // by the machine's clock
}

// Event is a message of pid 1 on the second serial port. Each is a line of JSON.
type Event struct {
	Command int
	Output  string        `json:",omitempty"`
	Ended   bool          `json:",omitempty"`
	Code    int           `json:",omitempty"`
	Took    time.Duration `json:",omitempty"`
	// Off says that this is the last event, and that the machine will be switched off.
	Off bool `json:",omitempty"`
}

// A CrashError says that a machine did not end as it should have: by a panic, an oops, the deadline, or because it was stuck.
type CrashError struct {
	Why     error
	Console string // its last lines and, if the machine had to be ended, the state of its processors
}

func (e *CrashError) Error() string {
	return fmt.Sprintf("the machine %v; the console's last lines:\n%s", e.Why, e.Console)
}

func (e *CrashError) Unwrap() error { return e.Why }

// ErrStill means that a machine sent no event for the time of its Silence.
var ErrStill = errors.New("stood still")

// Run boots the machine, with its files in a folder, and waits until it is off. It returns a result for each command, even with an error. The error
// is a [*CrashError] if the machine crashed, was stuck, or was not off when ctx ended.
func (m *Machine) Run(ctx context.Context, folder string) ([]Result, error) {
	results := make([]Result, len(m.Commands))
	image, console, port := filepath.Join(folder, "image"), filepath.Join(folder, "console"), filepath.Join(folder, "port")
	if err := m.writeImage(image); err != nil {
		return results, fmt.Errorf("image: %w", err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	cmd := exec.CommandContext(ctx, QEMU,
		"-accel", "tcg,thread=multi", "-cpu", "max", "-machine", "q35", "-m", strconv.Itoa(m.MemoryMiB), "-smp", strconv.Itoa(m.CPUs),
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-qmp", "stdio",
		"-serial", "file:"+console, "-serial", "file:"+port, "-kernel", m.Kernel, "-initrd", image,
		"-append", "console=ttyS0 panic=-1 oops=panic random.trust_cpu=on tsc=reliable mitigations=off audit=0 "+m.Options)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	control, err := cmd.StdinPipe()
	if err != nil {
		return results, err
	}
	cmd.Cancel = func() error { return question(control) }
	cmd.WaitDelay = 10 * time.Second
	runtime.LockOSThread() // the death signal is sent when the thread ends that started the process
	defer runtime.UnlockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return results, err
	}
	var watch sync.WaitGroup
	watch.Go(func() { watchPort(ctx, cancel, port, m.Silence) })
	err = cmd.Wait()
	why := context.Cause(ctx)
	cancel(nil)
	watch.Wait()
	off, readErr := readPort(port, results)
	switch {
	case why != nil:
		if !errors.Is(why, ErrStill) {
			why = fmt.Errorf("was not off at the deadline: %w", why)
		}
		err = &CrashError{why, tail(console) + "\n" + answers(stdout.Bytes())}
	case err != nil:
		err = fmt.Errorf("%s: %w: %s", QEMU, err, stderr.Bytes())
	case readErr != nil:
		err = readErr
	case !off:
		err = &CrashError{errors.New("went down before it had run all commands"), tail(console)}
	}
	return results, err
}

// watchPort ends a machine that is stuck: one that writes nothing to its second serial port for the time of silence.
func watchPort(ctx context.Context, end context.CancelCauseFunc, port string, silence time.Duration) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	size, grown := int64(0), time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if info, err := os.Stat(port); err == nil && info.Size() > size {
			size, grown = info.Size(), time.Now()
		}
		if time.Since(grown) > silence {
			end(fmt.Errorf("%w for %v", ErrStill, silence))
			return
		}
	}
}

// question asks QEMU for the state of the machine's processors, and then ends QEMU (QEMU Machine Protocol).
func question(control io.Writer) error {
	e := json.NewEncoder(control)
	type command struct {
		Execute   string            `json:"execute"`
		Arguments map[string]string `json:"arguments,omitempty"`
	}
	err := e.Encode(command{Execute: "qmp_capabilities"})
	for _, about := range []string{"info registers -a", "info irq"} {
		err = errors.Join(err, e.Encode(command{"human-monitor-command", map[string]string{"command-line": about}}))
	}
	return errors.Join(err, e.Encode(command{Execute: "quit"}))
}

// answers returns QEMU's replies to question.
func answers(b []byte) string {
	var said strings.Builder
	for line := range bytes.Lines(b) {
		var reply struct {
			Return string `json:"return"`
		}
		if json.Unmarshal(line, &reply) == nil { // other lines report events
			said.WriteString(reply.Return)
		}
	}
	return strings.ReplaceAll(said.String(), "\r", "")
}

// readPort reads the events of a machine that is off, and reports whether it was switched off properly.
func readPort(path string, results []Result) (off bool, err error) {
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	for d := json.NewDecoder(f); ; {
		var e Event
		err := d.Decode(&e)
		switch {
		case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
			return off, nil
		case err != nil:
			return false, fmt.Errorf("second serial port: %w", err)
		case e.Off:
			off = true
		case e.Command < 0 || e.Command >= len(results):
			return false, fmt.Errorf("second serial port: command %d, there are %d", e.Command, len(results))
		default:
			r := &results[e.Command]
			r.Output += e.Output
			if e.Ended {
				r.Ran, r.Code, r.Took = true, e.Code, e.Took
			}
		}
	}
}

// tailLines is how many lines of the console are quoted after a crash: an oops has about forty.
const tailLines = 60

func tail(console string) string {
	b, err := os.ReadFile(console)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(strings.ReplaceAll(string(b), "\r", "")), "\n")
	return strings.Join(lines[max(0, len(lines)-tailLines):], "\n")
}
