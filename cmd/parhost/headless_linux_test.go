package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// Without /proc no worker can be started, and the command says what to mount.
func TestWithoutProcTheHintNamesIt(t *testing.T) {
	command, err := exec.LookPath("parhost")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-c", `mount -t tmpfs none /proc || exit 99; "$0" -p sqrt 4; "$0" -p sqrt --mode goroutine -o values 4; exit 0`, command)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	err = cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); err != nil && (!ok || exit.ExitCode() == 99) {
		t.Skipf("nobody may cover /proc here: %v %s", err, &stderr)
	}
	if !strings.Contains(stderr.String(), "parhost: hint: mount /proc") {
		t.Errorf("got %q, want a hint to mount /proc", &stderr)
	}
	if stdout.String() != "2\n" {
		t.Errorf("goroutines without /proc: got %q, want 2", &stdout)
	}
}
