package main

import (
	"errors"
	"io/fs"
	"strings"
	"syscall"
	"testing"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/host/sandbox"
)

// A hint must not name a flag that the command line already has, nor the command that is running.
func TestHintsSuitTheCommandLine(t *testing.T) {
	refused := &sandbox.StageError{Level: sandbox.Strict, Stage: "clone", Err: fs.ErrPermission}
	limit := &sandbox.StageError{Level: sandbox.Off, Stage: "cgroup", Hint: "run the host as root", Err: fs.ErrPermission}
	setup := &host.StartError{Worker: 1, Plugin: "p", Stage: "set-up", Err: errors.New("open /srv/model.bin: no such file or directory")}
	seccomp := &host.StartError{Stage: "handshake", Cause: host.CauseSeccomp, Err: errors.New("bad system call")}
	files := &host.StartError{Stage: "exec", Err: syscall.EMFILE}
	proc := &host.StartError{Stage: "exec", Plugin: "sqrt", Err: &fs.PathError{Op: "readlink", Path: "/proc/self/exe", Err: fs.ErrNotExist}}
	late := &host.StartError{Stage: "handshake", Err: errors.New("no line after 10s (Config.StartTimeout)")}
	const auto, doctor, verify, ro = "--sandbox auto", "parhost doctor", "plugins verify", "--ro PATH"
	for name, c := range map[string]struct {
		args       []string
		err        error
		has, lacks []string
	}{
		"a level that is not there":         {[]string{"-p", "x", "--sandbox", "strict"}, refused, []string{auto, doctor}, nil},
		"the same, and auto was given":      {[]string{"-p", "x", "--sandbox", "auto"}, refused, []string{doctor}, []string{auto}},
		"a limit whose error says it all":   {[]string{"-p", "x", "--cpus", "1"}, limit, nil, []string{auto, doctor}},
		"calls that flags would permit":     {[]string{"-p", "x", "--sandbox", "strict"}, seccomp, []string{"--allow-net", "--sandbox off"}, nil},
		"calls that no flag permits":        {[]string{"-p", "x", "--sandbox", "strict", "--allow-net", "--allow-fork"}, seccomp, []string{"--sandbox off"}, []string{"--allow-net"}},
		"calls refused without a sandbox":   {[]string{"-p", "x"}, seccomp, nil, []string{"--sandbox off"}},
		"many workers":                      {[]string{"-p", "x", "-j", "9"}, files, []string{"ulimit -n", "--procs"}, nil},
		"a command with a worker or two":    {[]string{"plugins", "verify", "x"}, files, []string{"ulimit -n"}, []string{"--procs"}},
		"a slow start":                      {[]string{"-p", "x"}, late, []string{"--start-timeout"}, nil},
		"a slow start in verify":            {[]string{"plugins", "verify", "x"}, late, nil, []string{"--start-timeout"}},
		"no /proc":                          {[]string{"-p", "sqrt"}, proc, []string{"mount /proc", "--mode goroutine"}, nil},
		"no /proc, and an executable":       {[]string{"-p", "./x"}, proc, []string{"mount /proc"}, []string{"--mode"}},
		"no /proc, and all modes":           {[]string{"-p", "sqrt", "--compare"}, proc, []string{"mount /proc"}, []string{"--mode"}},
		"a set-up without a sandbox":        {[]string{"-p", "x"}, setup, []string{verify}, []string{ro}},
		"a set-up in a sandbox":             {[]string{"-p", "x", "--sandbox", "strict"}, setup, []string{verify, ro, "--sandbox strict hides files"}, nil},
		"a set-up that verify has met":      {[]string{"plugins", "verify", "x"}, setup, []string{"what it needs may be missing"}, []string{verify}},
		"a start that verify has met":       {[]string{"plugins", "verify", "x"}, &host.StartError{Stage: "dial", Err: errors.New("x")}, nil, []string{verify}},
		"a set-up that fails without files": {[]string{"-p", "x", "--sandbox", "strict"}, &host.StartError{Stage: "set-up", Err: errors.New("no licence")}, nil, []string{ro}},
	} {
		cmd, rest, err := newRoot(newStreams(nil, nil, nil)).Find(c.args)
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.ParseFlags(rest); err != nil {
			t.Fatal(err)
		}
		_, hint := exitCode(c.err)
		hint = hintFor(cmd, c.err, hint)
		for _, part := range c.has {
			if !strings.Contains(hint, part) {
				t.Errorf("%s: the hint is %q, want %q in it", name, hint, part)
			}
		}
		for _, part := range c.lacks {
			if strings.Contains(hint, part) {
				t.Errorf("%s: the hint is %q, want no %q in it", name, hint, part)
			}
		}
	}
	if text := limit.Error(); strings.Contains(text, "level off") {
		t.Errorf("a limit without a sandbox: got %q", text)
	}
}
