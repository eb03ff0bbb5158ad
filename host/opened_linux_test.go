package host_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/host/sandbox"
	"github.com/parhost/parhost/internal/wire/workerpb"
)

func init() {
	// upgraded has a pool of its own program. It says so, and goes on when another file has taken the program's place.
	hosts["upgraded"] = func() {
		p := mustOpen(host.Config{Workload: chaos, Workers: 1})
		defer p.Close()
		say("ready")
		_, _ = io.ReadAll(os.Stdin)
		_, err := value(typed[order, string](p).Do(context.Background(), order{Do: "exit", N: 3}))
		_, crashed := errors.AsType[*host.ItemError](err)
		got, err := value(typed[order, string](p).Do(context.Background(), order{Do: "echo", S: "the same"}))
		say(crashed, got, err, len(p.Checksum()))
	}
	of := chaos.Manifest()
	for name, m := range map[string]*workerpb.Manifest{
		"another version": {Name: of.Name, Version: "another", ItemKind: "json", ResultKind: "json"},
		"another name":    {Name: "another", ItemKind: "json", ResultKind: "json"},
	} {
		fakes[name] = func() { fakeServe(&liar{manifest: m, work: honest(func() {})}) }
	}
}

// otherProgram puts a program that is no plugin into the place of a file, as a new file with its name.
func otherProgram(t *testing.T, path string) {
	t.Helper()
	program, err := os.ReadFile("/bin/false")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.WriteFile(path+".new", program, 0o755), os.Rename(path+".new", path)); err != nil {
		t.Fatal(err)
	}
}

// Workers that replace others, and those that are added, run what the pool was opened with, whatever its file's name leads to by then.
func TestAPoolRunsWhatItWasOpenedWith(t *testing.T) {
	atLevels(t, allLevels, func(t *testing.T, policy sandbox.Policy) {
		path := shortDir(t) + "/plugin"
		copySelf(t, path)
		want, err := sandbox.Checksum(path)
		if err != nil {
			t.Fatal(err)
		}
		p := open(t, host.Config{Plugin: path, PluginWorkload: chaos.Manifest().Name, Workers: 1, Batch: 1, Sandbox: policy})
		otherProgram(t, path)
		for range 2 {
			_, err := value(typed[order, string](p).Do(t.Context(), order{Do: "exit", N: 3}))
			_ = itemError(t, "a crash", err, host.KindCrashed)
			if got, err := value(typed[order, string](p).Do(t.Context(), order{Do: "echo", S: "a"})); got != "a" || err != nil {
				t.Fatalf("after a crash: got %q, %v", got, err)
			}
		}
		if err := p.Resize(3); err != nil {
			t.Fatal(err)
		}
		waitWorkers(t, p, 3)
		if got := p.Checksum(); got != want {
			t.Errorf("got the checksum %q, want %s", got, want)
		}
	})
}

// A script that is replaced starts no other worker, and when the last one is gone the pool ends with that.
func TestAPoolOfAScriptThatIsReplacedEndsWithThat(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := shortDir(t) + "/script"
	write := func(text string) {
		t.Helper()
		if err := errors.Join(os.WriteFile(path+".new", []byte("#!/bin/sh\n"+text), 0o755), os.Rename(path+".new", path)); err != nil {
			t.Fatal(err)
		}
	}
	write("exec '" + exe + "'\n")
	p := open(t, host.Config{Plugin: path, PluginWorkload: chaos.Manifest().Name, Workers: 1, Batch: 1})
	if got, err := value(typed[order, string](p).Do(t.Context(), order{Do: "echo", S: "a"})); got != "a" || err != nil {
		t.Fatalf("as it was: got %q, %v", got, err)
	}
	write("exec '" + exe + "' # the same, by other bytes\n")
	_, err = value(typed[order, string](p).Do(t.Context(), order{Do: "exit", N: 3}))
	_ = itemError(t, "a crash", err, host.KindCrashed)
	_, err = value(typed[order, string](p).Do(t.Context(), order{Do: "echo"}))
	broken, ok := errors.AsType[*host.BrokenError](err)
	if !ok || broken.Failures != 0 || !errors.As(err, new(*sandbox.ChangedError)) {
		t.Errorf("then: got %v, want that the script was changed, at once", err)
	}
}

// A program that is its own plugin runs itself, also after an upgrade.
func TestAHostThatIsUpgradedRunsItself(t *testing.T) {
	path := shortDir(t) + "/host"
	copySelf(t, path)
	cmd := exec.Command(path)
	cmd.Env = append(os.Environ(), hostEnv+"=upgraded")
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(stdout)
	lines.Scan()
	otherProgram(t, path)
	_ = stdin.Close()
	lines.Scan()
	if got := lines.Text(); got != "true the same <nil> 64" {
		t.Errorf("after the upgrade: got %q, want the result of the same program", got)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// A worker that says that it is another version, or another workload, is none of the pool's.
func TestALaterWorkerHasTheSameWorkload(t *testing.T) {
	for _, name := range []string{"another version", "another name"} {
		t.Run(name, func(t *testing.T) {
			cfg := host.Config{Workload: chaos, Workers: 1}
			lieNowAndThen(t, &cfg, append([]string{""}, slices.Repeat([]string{name}, 20)...))
			p := open(t, cfg)
			_, err := value(typed[order, string](p).Do(t.Context(), order{Do: "exit", N: 3}))
			_ = itemError(t, "a crash", err, host.KindCrashed)
			_, err = value(typed[order, string](p).Do(t.Context(), order{Do: "echo"}))
			if !errors.As(err, new(*host.BrokenError)) || !strings.Contains(err.Error(), "the workload has changed while the pool lives") {
				t.Errorf("then: got %v, want that the workload has changed", err)
			}
		})
	}
}
