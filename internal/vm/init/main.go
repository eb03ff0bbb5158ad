//go:build linux

// Command init is pid 1 of a virtual machine. It runs the commands that it finds in a file, reports the outcome of each on the second serial port,
// and switches the machine off.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/parhost/parhost/internal/vm"
)

func main() {
	if os.Getpid() != 1 {
		if err := run(); err != nil {
			fmt.Fprintln(os.Stderr, "init:", err)
			os.Exit(1)
		}
		return
	}
	if err := boot(); err != nil {
		fmt.Fprintln(os.Stderr, "init:", err)
	}
	unix.Sync()
	fmt.Fprintln(os.Stderr, "init:", unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)) // Reboot returns only with an error
}

// boot prepares the machine, and runs the commands in a child, because pid 1 has to reap orphans.
func boot() error {
	if err := furnish(); err != nil {
		return err
	}
	child := exec.Command("/proc/self/exe")
	child.Stdin, child.Stdout, child.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := child.Start(); err != nil {
		return err
	}
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return fmt.Errorf("wait: %w", err)
		case pid == child.Process.Pid:
			if status != 0 {
				return fmt.Errorf("what ran the commands ended with status %#x", status)
			}
			return nil
		}
	}
}

// furnish mounts the file systems that programs expect, and brings up the loopback interface.
func furnish() error {
	// pivot_root(2) does not work in the initial root, because that has no parent mount. A bind mount of it, moved on top of it, has one (proc_mounts,
	// "rootfs").
	for _, f := range []func() error{
		func() error { return os.MkdirAll("/newroot", 0o755) },
		func() error { return unix.Mount("/", "/newroot", "", unix.MS_BIND, "") },
		func() error { return unix.Chdir("/newroot") },
		func() error { return unix.Mount(".", "/", "", unix.MS_MOVE, "") },
		func() error { return unix.Chroot(".") },
		func() error { return unix.Chdir("/") },
	} {
		if err := f(); err != nil {
			return fmt.Errorf("root: %w", err)
		}
	}
	for _, m := range []struct {
		kind, place, options string
	}{
		{"proc", "/proc", ""},
		{"sysfs", "/sys", ""},
		{"devtmpfs", "/dev", ""},
		{"tmpfs", "/dev/shm", "mode=1777"},
		{"tmpfs", "/tmp", "mode=1777"},
		{"cgroup2", cgroups, ""},
	} {
		if err := os.MkdirAll(m.place, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(m.kind, m.place, m.kind, 0, m.options); err != nil {
			return fmt.Errorf("mount %s: %w", m.place, err)
		}
	}
	if err := os.MkdirAll("/etc", 0o755); err != nil {
		return err
	}
	for file, text := range map[string]string{
		"/etc/passwd": "root:x:0:0::/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n",
		"/etc/hosts":  "127.0.0.1 localhost\n",
	} {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			return err
		}
	}
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP)
	return errors.Join(unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, lo), unix.Close(s), share())
}

// share makes a cgroup without processes that has a limit of CPU time. When the first such cgroup is made and when the last one is removed, the
// kernel changes jump instructions in its scheduler. An emulated processor that executes one at that time may see half of the change. This cgroup
// stays, so that no other one is the first or the last.
func share() error {
	folder := filepath.Join(cgroups, "share")
	return errors.Join(
		os.WriteFile(filepath.Join(cgroups, "cgroup.subtree_control"), []byte("+cpu"), 0),
		os.Mkdir(folder, 0o755),
		os.WriteFile(filepath.Join(folder, "cpu.max"), []byte("100000 100000"), 0),
	)
}

// cgroups is where cgroups are mounted.
const cgroups = "/sys/fs/cgroup"

// run runs the commands.
func run() error {
	text, err := os.ReadFile(vm.CommandsFile)
	if err != nil {
		return err
	}
	var commands []vm.Command
	if err := json.Unmarshal(text, &commands); err != nil {
		return err
	}
	port, err := os.OpenFile("/dev/ttyS1", os.O_WRONLY|unix.O_NOCTTY, 0)
	if err != nil {
		return err
	}
	events := &events{to: json.NewEncoder(port)}
	go events.beat()
	for i := range commands {
		begun := time.Now()
		fmt.Fprintln(os.Stderr, "init: run", commands[i].Name)
		code, err := execute(&commands[i], output{events, i})
		e := vm.Event{Command: i, Ended: true, Code: code, Took: time.Since(begun)}
		if err != nil {
			e.Output = fmt.Sprintln("init:", err)
		}
		if err := events.send(e); err != nil {
			return err
		}
	}
	return errors.Join(events.send(vm.Event{Off: true}), unix.IoctlSetInt(int(port.Fd()), unix.TCSBRK, 1), port.Close()) // waits until the event has been sent
}

// events sends events to the second serial port, from any goroutine.
type events struct {
	mu sync.Mutex
	to *json.Encoder
}

func (e *events) send(event vm.Event) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.to.Encode(event)
}

// beat sends an event every second to show that the machine is alive, until it is off.
func (e *events) beat() {
	for range time.Tick(time.Second) {
		if e.send(vm.Event{}) != nil {
			return // the sender of the next event reports the error
		}
	}
}

// output sends a command's output at once, so that it is known where a machine crashed.
type output struct {
	events  *events
	command int
}

func (o output) Write(b []byte) (int, error) {
	return len(b), o.events.send(vm.Event{Command: o.command, Output: string(b)})
}

// execute runs a command, and returns its exit code.
func execute(c *vm.Command, out output) (int, error) {
	for file, value := range c.Settings {
		if err := os.WriteFile(file, []byte(value), 0o644); err != nil {
			return -1, err
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(c.Seconds)*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.Args[0], c.Args[1:]...)
	cmd.Env = append([]string{"PATH=/bin", "HOME=/tmp", "TMPDIR=/tmp"}, c.Env...)
	cmd.Dir = "/tmp"
	cmd.Stdout, cmd.Stderr = out, out
	cmd.WaitDelay = 10 * time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setsid:     true,
		Credential: &syscall.Credential{Uid: uint32(c.UID), Gid: uint32(c.UID)},
	}
	cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGKILL) }
	if c.Cgroup != "" {
		folder, err := delegate(filepath.Join(cgroups, c.Cgroup), c.UID)
		if err != nil {
			return -1, err
		}
		defer folder.Close()
		cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(folder.Fd())
	}
	err := cmd.Run()
	if _, exited := errors.AsType[*exec.ExitError](err); exited {
		err = nil
	}
	if ctx.Err() != nil {
		err = fmt.Errorf("killed after %d s", c.Seconds)
	}
	return cmd.ProcessState.ExitCode(), err
}

// delegate makes a cgroup and delegates it to a user (admin-guide/cgroup-v2.rst, "Model of Delegation"): it changes the owner of the folder and of
// those files in it that are listed in /sys/kernel/cgroup/delegate and needed here.
func delegate(folder string, uid int) (*os.File, error) {
	all, err := os.ReadFile(filepath.Join(cgroups, "cgroup.controllers"))
	if err != nil {
		return nil, err
	}
	for c := range strings.FieldsSeq(string(all)) {
		if err := os.WriteFile(filepath.Join(cgroups, "cgroup.subtree_control"), []byte("+"+c), 0); err != nil {
			return nil, err
		}
	}
	if err := os.Mkdir(folder, 0o755); err != nil {
		return nil, err
	}
	for _, file := range []string{"", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"} {
		if err := os.Chown(filepath.Join(folder, file), uid, uid); err != nil {
			return nil, err
		}
	}
	return os.Open(folder)
}
