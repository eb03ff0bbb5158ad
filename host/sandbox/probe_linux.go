package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/parhost/parhost/host/sandbox/internal/launcher"
)

// rehearse starts a process at a level. The process builds all its walls, tries to get past them, and reports what happened. Testing features one by
// one is not enough: where user namespaces are restricted, clone often succeeds and later steps fail.
func rehearse(p play) error {
	policy, err := Policy{Level: p.level}.complete()
	if err != nil {
		return err
	}
	b, err := openBox(context.Background(), policy, "", "", seams{})
	if err != nil {
		return err
	}
	defer b.Close()
	t, err := b.rehearse(context.Background())
	if err != nil {
		return err
	}
	return b.judge(t)
}

// tryPolicy starts a process with a policy and its limits. Unlike [rehearse] it does not test the walls: files that the policy opens would look like
// a hole in them.
func tryPolicy(ctx context.Context, policy Policy) error {
	policy, err := policy.complete()
	if err != nil {
		return fmt.Errorf("sandbox: %w", err)
	}
	b, err := openBox(ctx, policy, "", "", seams{limited: true})
	if err != nil {
		return err
	}
	defer b.Close()
	_, err = b.rehearse(ctx)
	return err
}

// rehearse starts a process that builds all walls, and returns the results of its attempts to get past them.
func (b *Box) rehearse(ctx context.Context) (*launcher.Trial, error) {
	runtime.LockOSThread() // the parent-death signal kills the process when this thread ends
	defer runtime.UnlockOSThread()
	cmd := exec.Command(os.Args[0])
	cmd.Env = []string{}
	l, err := b.Wrap(cmd, 0)
	if err != nil {
		return nil, err
	}
	defer l.Close()
	l.spec.Rehearse = true
	if err := l.StartError(cmd.Start()); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, rehearsalTime, fmt.Errorf("no end of the rehearsal after %v", rehearsalTime))
	defer cancel()
	t, err := l.confirm(ctx)
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if err == nil && t == nil {
		err = b.failed("rehearsal", errors.New("the launcher ended without a word"))
	}
	return t, err
}

// openBlank makes a program for rehearsals that cannot be executed. Its start takes all the steps of a plugin's start, and its execveat(2) fails with
// ENOEXEC. Its first bytes are text: for other bytes the kernel would look for a module that can execute them (fs/exec.c, search_binary_handler).
func openBlank() (*program, error) {
	p := &program{path: "rehearsal"}
	if err := p.openMemory(); err != nil {
		return nil, err
	}
	_, err := p.file.WriteString("no program\n")
	if err = errors.Join(err, p.file.Chmod(0o555)); err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

// seen is the fact that Probe reports after a successful rehearsal.
const seen = "a process was started at it"

// play is what distinguishes rehearsals. On Linux that is the level alone, because what a policy opens does not change other walls.
type play struct{ level Level }

func playOf(p *Policy) play { return play{p.Level} }

// judge returns an error if the results of a rehearsal show that a wall did not hold.
func (b *Box) judge(t *launcher.Trial) error {
	switch {
	case t.File == 0 && (b.spaces() || b.landlock() > 0):
		return b.failed("rehearsal", errors.New("the process could read /proc"))
	case t.Socket == 0 && len(b.filter) > 0:
		return b.failed("rehearsal", errors.New("the process could make an internet socket"))
	case t.Signal == 0:
		return b.failed("rehearsal", errors.New("the process could signal its host"))
	case b.spaces() && (t.PID != 1 || t.UID != strictID):
		return b.failed("rehearsal", fmt.Errorf("the process is user %d with id %d, want user %d with id 1", t.UID, t.PID, strictID))
	case !b.spaces() && b.machine.ownUsers && t.UID == os.Geteuid():
		return b.failed("rehearsal", errors.New("the process has the host's user"))
	}
	return nil
}

// Probe reports which sandbox features this machine has. It starts a process at each level, once in the life of this process.
func Probe(ctx context.Context) (*Report, error) {
	r := &Report{}
	add := func(name string, ok bool, fact, hint string) {
		if ok {
			hint = ""
		}
		r.Layers = append(r.Layers, Layer{Name: name, OK: ok, Fact: fact, Hint: hint})
	}
	m := look()
	fact := fmt.Sprintf("ABI %d", m.landlock)
	if m.landlock == 0 {
		fact = "the kernel has none"
	}
	add("landlock", m.landlock > 0, fact, "Linux 5.13 or newer, with landlock in the kernel's lsm= list")
	_, err := unix.PrctlRetInt(unix.PR_GET_SECCOMP, 0, 0, 0, 0)
	add("seccomp", err == nil, okOr(err, "filters"), "a kernel with CONFIG_SECCOMP_FILTER")
	most, err := os.ReadFile("/proc/sys/user/max_user_namespaces")
	spaces := strings.TrimSpace(string(most))
	add("user namespaces", err == nil && spaces != "0", okOr(err, "at most "+spaces), "raise /proc/sys/user/max_user_namespaces")
	if m.ownUsers {
		add("own users", true, fmt.Sprintf("%d from %d on", m.users.count, m.users.first), "")
	} else {
		add("own users", false, "workers are of the host's user", "a host that is root with CAP_SETUID, CAP_SETGID, CAP_CHOWN and CAP_SYS_ADMIN; not needed for basic or strict")
	}
	for _, c := range []string{memory, pids, cpu} {
		fact, err := controller(c)
		add("cgroup "+c, err == nil, okOr(err, fact), cgroupHint(err))
	}
	return r, r.addLevels(ctx)
}

// controller reports whether limits of a controller can be set here, and in which folder.
func controller(name string) (fact string, err error) {
	all, err := hierarchies("")
	if err != nil {
		return "", err
	}
	err = errors.New("no hierarchy has it")
	for _, h := range all {
		if !slices.Contains(h.controllers, name) {
			continue
		}
		err = h.err
		if err == nil && h.version == 2 {
			err = passable(h.parent, name)
		}
		if err == nil {
			return fmt.Sprintf("v%d in %s", h.version, h.parent), nil
		}
	}
	return "", err
}
