//go:build linux

// Package vm boots a Linux kernel in a virtual machine, with a few files and a list of commands, and tells what came of each. It is how
// tests see other kernels than that of the machine they run on.
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

// QEMU is the program that a machine is run by. It emulates the processor, which takes ten times as long and works everywhere: virtual
// machines that are rented seldom have others in them.
const QEMU = "qemu-system-x86_64"

// CommandsFile is where pid 1 finds the list of commands, in JSON.
const CommandsFile = "/commands.json"

// Machine is what is booted.
type Machine struct {
	Kernel    string // the file of a kernel, a bzImage
	Init      string // the program built of package vm/init
	Options   string // of the kernel's command line, such as lsm=yama
	MemoryMiB int
	CPUs      int
	Files     map[string]string // by their paths inside, the paths outside; everybody may execute them
	Commands  []Command         // run one after the other
	// Silence is how long it may say nothing, which says something every second once it has booted. Emulated beside others it is slow.
	Silence time.Duration
}

// Command is one program that runs inside.
type Command struct {
	Name string
	Args []string // the first is the path of the program
	Env  []string
	// UID is the user and the only group.
	UID int
	// Cgroup is a folder below the mount of version 2 that is made for the command, and made over to its user with all controllers.
	// Empty is the root of the hierarchy.
	Cgroup string
	// Settings are written before the command is run, and stay: by the paths of the files.
	Settings map[string]string
	// Seconds is how long the command may take before it is killed, and all that it has started.
	Seconds int
}

// Result is what came of a command.
type Result struct {
	Ran    bool // false: the machine did not get so far
	Code   int  // the exit code, -1 after a signal
	Output string
	Took   time.Duration // as the machine counts
}

// Event is what pid 1 writes to the second serial port, a line of JSON each.
type Event struct {
	Command int
	Output  string        `json:",omitempty"`
	Ended   bool          `json:",omitempty"`
	Code    int           `json:",omitempty"`
	Took    time.Duration `json:",omitempty"`
	// Off says that there are no more, and the machine is about to be switched off.
	Off bool `json:",omitempty"`
}

// A CrashError says that a machine did not end as it should have: by a panic, an oops, the deadline, or because it
// stood still.
type CrashError struct {
	Why     error
	Console string // its last lines, and what its processors were at if it had to be ended
}

func (e *CrashError) Error() string {
	return fmt.Sprintf("the machine %v; the console's last lines:\n%s", e.Why, e.Console)
}

func (e *CrashError) Unwrap() error { return e.Why }

// ErrStill matches the error of a machine that said nothing for as long as its Silence.
var ErrStill = errors.New("stood still")

// Run boots the machine, in a folder of its own, and waits until it is off. There is a result for each command, also with an error;
// that is a [*CrashError] if the machine came to harm.
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
	runtime.LockOSThread() // whose end the signal tells of
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

// watchPort ends a machine that stands still: one whose second serial port does not grow.
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

// question asks QEMU what the processors of a machine are doing, and makes an end of it (QEMU Machine Protocol).
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

// answers are what QEMU replied to the questions.
func answers(b []byte) string {
	var said strings.Builder
	for line := range bytes.Lines(b) {
		var reply struct {
			Return string `json:"return"`
		}
		if json.Unmarshal(line, &reply) == nil { // others tell that something happened
			said.WriteString(reply.Return)
		}
	}
	return strings.ReplaceAll(said.String(), "\r", "")
}

// readPort reads the events of a machine that is off, and reports whether it was switched off.
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

// tailLines is how much of a console tells what happened: an oops has some forty lines.
const tailLines = 60

func tail(console string) string {
	b, err := os.ReadFile(console)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(strings.ReplaceAll(string(b), "\r", "")), "\n")
	return strings.Join(lines[max(0, len(lines)-tailLines):], "\n")
}
