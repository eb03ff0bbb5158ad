package sandbox_test

import (
	"errors"
	"strconv"
	"strings"
	"testing"

	"github.com/parhost/parhost/host/sandbox"
)

func TestAWorkerRunsInItsJob(t *testing.T) {
	if got := start(t, sandbox.Policy{}, "job").line(); got != "true" {
		t.Errorf("in a job when it begins: got %s, want true", got)
	}
}

func TestKillEndsWhatAWorkerStarted(t *testing.T) {
	w := start(t, sandbox.Policy{}, "parent")
	child := handleOf(t, w.line())
	w.launch.Kill()
	checkEnds(t, "a process that a worker started", child)
	w.end()
}

func TestWorkersEndWithTheirHost(t *testing.T) {
	host := start(t, sandbox.Policy{}, "host")
	worker, child, _ := strings.Cut(host.line(), " ")
	w, c := handleOf(t, worker), handleOf(t, child)
	if err := host.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	checkEnds(t, "a worker of a host that was killed", w)
	checkEnds(t, "what that worker had started", c)
}

func TestMemoryLimit(t *testing.T) {
	w := start(t, sandbox.Policy{MemoryBytes: 64 << 20}, "hoard")
	line, _ := w.out.ReadString('\n')
	death := w.end()
	if strings.HasPrefix(line, "has") && onWine() {
		t.Skip("Wine has no limit of memory")
	}
	if line != "" || death.Code == 0 || !strings.Contains(w.stderr.String(), "out of memory") && !strings.Contains(w.stderr.String(), "cannot allocate") {
		t.Errorf("200 MiB with 64: got %q, %v and stderr %q, want an end for want of memory", line, death, w.stderr.String())
	}
}

func TestProcessLimit(t *testing.T) {
	for name, c := range map[string]struct {
		policy sandbox.Policy
		want   int
	}{
		"off":                   {sandbox.Policy{}, 20},
		"off, 8":                {sandbox.Policy{PIDs: 8}, 7},
		"basic":                 {sandbox.Policy{Level: sandbox.Basic, AllowNet: true}, 0},
		"basic with processes":  {sandbox.Policy{Level: sandbox.Basic, AllowNet: true, AllowFork: true}, 20},
		"basic with some, of 8": {sandbox.Policy{Level: sandbox.Basic, AllowNet: true, AllowFork: true, PIDs: 8}, 7},
	} {
		t.Run(name, func(t *testing.T) {
			got := start(t, c.policy, "forks").line()
			if got != strconv.Itoa(c.want) && onWine() && got == "20" {
				t.Skip("Wine has no limit of processes")
			}
			if got != strconv.Itoa(c.want) {
				t.Errorf("processes started: got %s, want %d", got, c.want)
			}
		})
	}
}

func TestCPULimit(t *testing.T) {
	got, err := strconv.ParseFloat(start(t, sandbox.Policy{CPUs: 0.5}, "spin").line(), 64)
	if err != nil || got > 1.2 {
		t.Errorf("CPU time of 2 s of spinning with half a CPU: got %v and %v, want 1 s", got, err)
	}
}

func TestToken(t *testing.T) {
	w := start(t, sandbox.Policy{Level: sandbox.Basic, AllowNet: true, MemoryBytes: 100 << 20}, "token")
	restricted, integrity, env := w.line(), w.line(), w.line()
	if want := "environment 94371840 "; env+" " != want {
		t.Errorf("got %q, want %q", env, want)
	}
	if onWine() && (restricted != "restricted true <nil>" || integrity != "integrity S-1-16-4096") {
		t.Skipf("Wine has made %q and %q of the token", restricted, integrity)
	}
	if restricted != "restricted true <nil>" || integrity != "integrity S-1-16-4096" {
		t.Errorf("got %q and %q, want a restricted token of low integrity", restricted, integrity)
	}
}

// Open and Best provide a level only if a test process has shown that its walls hold.
func TestBasicIsGivenIfItsWallsHold(t *testing.T) {
	policy := sandbox.Policy{Level: sandbox.Basic, AllowNet: true}
	b := policyBox(t, policy)
	o, err := b.Try()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", o)
	holds := o.Judge(true, false)
	opened, err := sandbox.Open(t.Context(), policy, "plugin.exe", "")
	if err == nil {
		opened.Close()
	}
	if (err == nil) != (holds == nil) || err != nil && !errors.Is(err, sandbox.ErrNotSupported) {
		t.Errorf("Open: got the error %v, want one like that of the trial: %v", err, holds)
	}
	best, err := sandbox.Best(t.Context(), policy)
	if want := map[bool]sandbox.Level{true: sandbox.Basic, false: sandbox.Off}[holds == nil]; err != nil || best != want {
		t.Errorf("Best: got %v and %v, want %v", best, err, want)
	}
}

func TestWhatWindowsCannotGiveIsRefused(t *testing.T) {
	for says, policy := range map[string]sandbox.Policy{
		"private roots": {Level: sandbox.Strict, AllowNet: true},
		"--allow-net":   {Level: sandbox.Basic},
		"ReadOnly":      {Level: sandbox.Basic, AllowNet: true, ReadOnly: []sandbox.Bind{{Source: `C:\\`}}},
		"OpenFiles":     {OpenFiles: 100},
		"FileBytes":     {FileBytes: 100},
		"UIDBase":       {Level: sandbox.Basic, AllowNet: true, UIDBase: 100},
		"CgroupParent":  {MemoryBytes: 100 << 20, CgroupParent: "/x"},
	} {
		b, err := sandbox.Open(t.Context(), policy, "plugin.exe", "")
		if err == nil {
			b.Close()
		}
		if !errors.Is(err, sandbox.ErrNotSupported) || !strings.Contains(err.Error(), says) {
			t.Errorf("Open %+v: got %v, want an error that matches ErrNotSupported and says %q", policy, err, says)
		}
	}
	if best, err := sandbox.Best(t.Context(), sandbox.Policy{}); best != sandbox.Off || err != nil && !errors.Is(err, sandbox.ErrNotSupported) {
		t.Errorf("Best without AllowNet: got %v and %v, want off, or a refusal where AllowNet is all that is missing", best, err)
	}
}
