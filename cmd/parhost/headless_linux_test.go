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

// Without /proc no worker can start. The command and its doctor must say what to mount.
func TestWithoutProcTheHintNamesIt(t *testing.T) {
	command, err := exec.LookPath("parhost")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-c", `mount -t tmpfs none /proc || exit 99; "$0" -p sqrt 4; "$0" -p sqrt --mode goroutine -o values 4; "$0" doctor; test $? = 3`, command)
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
	if err != nil {
		t.Errorf("parhost doctor: want exit code 3: %s", &stdout)
	}
	if !strings.Contains(stderr.String(), "parhost: hint: mount /proc") {
		t.Errorf("got %q, want a hint to mount /proc", &stderr)
	}
	values, report, _ := strings.Cut(stdout.String(), "\n")
	if values != "2" {
		t.Errorf("goroutines without /proc: got %q, want 2", values)
	}
	if !strings.Contains(report, "\n start ") || strings.Count(stderr.String(), "parhost: hint: mount /proc") != 2 {
		t.Errorf("parhost doctor: got %s and %s, want a row for the start, and the hint", report, &stderr)
	}
}
