//go:build unix

package host_test

import (
	"context"
	"io"
	"os"
	"sync"
	"testing"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/host/sandbox"
)

// Levels at which workers keep the same promises.
var (
	allLevels = []sandbox.Level{sandbox.Off, sandbox.Basic, sandbox.Strict}
	walled    = []sandbox.Level{sandbox.Basic, sandbox.Strict}
)

// policyAt is the least policy of a level at which the test binary runs. It may be linked dynamically, so its libraries are opened to it.
func policyAt(level sandbox.Level) sandbox.Policy {
	p := sandbox.Policy{Level: level}
	if level == sandbox.Off {
		return p
	}
	for _, folder := range []string{"/lib", "/lib64", "/usr/lib"} {
		if _, err := os.Stat(folder); err == nil {
			p.ReadOnly = append(p.ReadOnly, sandbox.Bind{Source: folder})
		}
	}
	return p
}

// levelsHere are the levels that this machine has been seen to give.
var levelsHere = sync.OnceValues(func() (map[string]sandbox.Layer, error) {
	r, err := sandbox.Probe(context.Background())
	if err != nil {
		return nil, err
	}
	here := map[string]sandbox.Layer{}
	for _, l := range r.Levels {
		here[l.Name] = l
	}
	return here, nil
})

// needLevel skips a test at a level that this machine does not have.
func needLevel(t *testing.T, level sandbox.Level) {
	t.Helper()
	if level == sandbox.Off {
		return
	}
	here, err := levelsHere()
	if err != nil {
		t.Fatal(err)
	}
	if l := here["level "+level.String()]; !l.OK {
		t.Skipf("level %v: %v: %s", level, sandbox.ErrNotSupported, l.Fact)
	}
}

// atLevels runs a test at each of some levels; with -short, at the first of them, since what differs between levels is in other processes.
func atLevels(t *testing.T, levels []sandbox.Level, test func(t *testing.T, policy sandbox.Policy)) {
	t.Helper()
	if testing.Short() {
		levels = levels[:1]
	}
	for _, level := range levels {
		t.Run(level.String(), func(t *testing.T) {
			needLevel(t, level)
			test(t, policyAt(level))
		})
	}
}

// atLevelsTogether runs a test at all levels at the same time, for tests that mostly wait; with -short, at the first level.
func atLevelsTogether(t *testing.T, test func(t *testing.T, policy sandbox.Policy)) {
	t.Helper()
	levels := allLevels
	if testing.Short() {
		levels = levels[:1]
	}
	var running sync.WaitGroup
	defer running.Wait()
	for _, level := range levels {
		running.Go(func() {
			t.Run(level.String(), func(t *testing.T) {
				needLevel(t, level)
				test(t, policyAt(level))
			})
		})
	}
}

// letFork lets the workers of a pool start this program, at every level.
func letFork(t *testing.T, cfg *host.Config) {
	t.Helper()
	if cfg.Sandbox.Level == sandbox.Off {
		return
	}
	path := shortDir(t) + "/self" // where others find it too
	copySelf(t, path)
	cfg.Sandbox.AllowFork = true
	cfg.Sandbox.ReadOnly = append(cfg.Sandbox.ReadOnly, sandbox.Bind{Source: path})
	cfg.Env = append(cfg.Env, selfEnv+"="+path)
}

func copySelf(t *testing.T, path string) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	from, err := os.Open(exe)
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	to, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(to, from); err != nil {
		t.Fatal(err)
	}
	if err := to.Close(); err != nil {
		t.Fatal(err)
	}
}
