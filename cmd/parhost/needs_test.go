package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/parhost/parhost/host/sandbox"
	"github.com/parhost/parhost/protocol"
)

// needyStarts names a folder in which each worker creates a file when it starts.
const needyStarts = "PARHOST_TEST_NEEDY_STARTS"

func init() {
	if path := os.Getenv(needyStarts); path != "" {
		f, err := os.CreateTemp(path, "start")
		if err != nil {
			panic(err)
		}
		_ = f.Close()
	}
}

// needy is a workload whose set-up fails without a certain file.
type needy struct{}

const needyFile = "/etc/passwd" // readable for everybody without a sandbox

func (needy) Setup(context.Context) error {
	_, err := os.ReadFile(needyFile)
	return err
}

func (needy) Run(_ context.Context, x float64) (float64, error) { return x, nil }

func TestLacking(t *testing.T) {
	needs := protocol.Needs{Network: true, Processes: true, Read: []string{"/etc/ssl", "/srv/our models"}, Write: []string{"/srv/out"}, MemoryBytes: 1<<30 + 1}
	bind := func(paths ...string) (binds []sandbox.Bind) {
		for _, p := range paths {
			binds = append(binds, sandbox.Bind{Source: p})
		}
		return binds
	}
	for name, c := range map[string]struct {
		policy sandbox.Policy
		want   []string
	}{
		"off":             {sandbox.Policy{}, nil},
		"off, small":      {sandbox.Policy{MemoryBytes: 1 << 30}, []string{"--memory 1025MiB"}},
		"nothing granted": {sandbox.Policy{Level: sandbox.Basic}, []string{"--allow-net", "--allow-fork", "--ro /etc/ssl", "--ro '/srv/our models'", "--rw /srv/out"}},
		"some granted": {
			sandbox.Policy{Level: sandbox.Strict, AllowNet: true, ReadOnly: bind("/etc", "/srv/out"), MemoryBytes: 2 << 30},
			[]string{"--allow-fork", "--ro '/srv/our models'", "--rw /srv/out"},
		},
		"a name that begins the same": {
			sandbox.Policy{Level: sandbox.Strict, AllowNet: true, AllowFork: true, ReadOnly: bind("/etc/ss"), ReadWrite: bind("/srv")},
			[]string{"--ro /etc/ssl"},
		},
		"shown elsewhere": {
			sandbox.Policy{Level: sandbox.Strict, AllowNet: true, AllowFork: true, ReadWrite: []sandbox.Bind{{Source: "/", Target: "/srv"}, {Source: "/etc/ssl", Target: "/ssl"}}},
			[]string{"--ro /etc/ssl"},
		},
		"all granted": {sandbox.Policy{Level: sandbox.Basic, AllowNet: true, AllowFork: true, ReadOnly: bind("/etc"), ReadWrite: bind("/srv")}, nil},
	} {
		if diff := cmp.Diff(c.want, lacking(needs, c.policy)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// Texts of a plugin may be copied into a shell, where each must be a single word.
func TestQuote(t *testing.T) {
	words := []string{"", "/etc/ssl", "/a b", "/a'b", `/a"b`, "/$HOME", "/`id`", "/a;id", `/a\b`, "/~", "/*", "/ä", "/#x", "/a&", "''", "'; id '"}
	if runtime.GOOS == "windows" {
		t.Logf("%q are for a shell that is not here", words)
		return
	}
	var line []string
	for _, w := range words {
		line = append(line, quote(w))
	}
	out, err := exec.Command("/bin/sh", "-c", `printf '%s\n' `+strings.Join(line, " ")).Output()
	if err != nil {
		t.Fatalf("%s: got the error %v", line, err)
	}
	if diff := cmp.Diff(words, strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")); diff != "" {
		t.Errorf("words behind a shell (-want +got):\n%s", diff)
	}
}

// A folder that was built with --cgo contains C, so that a build without cgo would fail.
func TestTheHintForAFolderWithCNamesNoStaticBuild(t *testing.T) {
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	for path, static := range map[string]bool{filepath.Join(cache, "parhost", "plugins", "5a", "mean"): false, "/srv/mean": true} {
		_, hint := exitCode(&sandbox.NeedsFilesError{Path: path, Folders: []string{"/lib"}, Static: true})
		if !strings.HasPrefix(hint, "add --ro /lib") || strings.Contains(hint, "CGO_ENABLED=0") != static {
			t.Errorf("%s: got the hint %q, want CGO_ENABLED=0 in it: %v", path, hint, static)
		}
	}
}

// A hint may contain names of files and folders that others have chosen.
func TestHintsHoldPathsAsOneWord(t *testing.T) {
	const path = "/srv/a;id/parhost-plugin-x"
	for name, c := range map[string]struct {
		err  error
		want string
	}{
		"folders":        {&sandbox.NeedsFilesError{Folders: []string{"/lib", "/srv/a;id"}}, "add --ro /lib --ro '/srv/a;id'"},
		"a colon":        {&sandbox.NeedsFilesError{Folders: []string{"/lib", "/srv/:/x"}}, `"/srv/:/x" has a colon in its path, and cannot be opened: --ro SRC[:DST] would take it for two paths`},
		"another plugin": {&sandbox.ChecksumError{Path: path, Got: "5a"}, "get the executable that was meant, or, if this one is: parhost plugins lock '" + path + "', or --checksum sha256:5a"},
	} {
		if _, hint := exitCode(c.err); hint != c.want {
			t.Errorf("%s: got the hint %q, want %q", name, hint, c.want)
		}
	}
}

// If a flag were shortened, its quoting could end in the wrong place.
func TestAFlagIsShownInOnePiece(t *testing.T) {
	path := "/" + strings.Repeat("a'", 80) + ";id;" + strings.Repeat("'b", 40)
	var out strings.Builder
	if err := printManifest(&screen{stream: &out}, protocol.Manifest{Name: "x", Needs: protocol.Needs{Read: []string{path}}}, "here", nil); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "--ro "+quote(path)+"\n") {
		t.Errorf("got\n%s\nwant the whole of --ro %s", out.String(), quote(path))
	}
}

// If a sandboxed plugin lacks something that its manifest needs, the command says so, even if the plugin works without it. The command grants nothing
// by itself.
func TestARunSaysWhatItsPluginNeeds(t *testing.T) {
	for name, flags := range map[string][]string{"lacks it": nil, "is given it": {"--ro", needyFile}} {
		t.Run(name, func(t *testing.T) {
			cmd := command(t, slices.Concat([]string{"-p", "needy", "-o", "values", "--procs", "1", "--sandbox", "basic", "1"}, flags)...)
			var stdout, stderr bytes.Buffer
			cmd.Stdout, cmd.Stderr = &stdout, &stderr
			err := cmd.Run()
			if cmd.ProcessState.ExitCode() == exitNoSandbox && (runtime.GOOS != "linux" || os.Geteuid() != 0) {
				t.Skipf("no sandbox here: %s", &stderr)
			}
			if flags == nil {
				if want := "hint: needy says that it needs what it is not given; if you trust it with that, add: --ro " + needyFile + "\n"; cmd.ProcessState.ExitCode() != exitNoWorker || !strings.Contains(stderr.String(), want) {
					t.Errorf("got %v and stderr %s, want exit code %d and %q", err, &stderr, exitNoWorker, want)
				}
				return
			}
			if err != nil || stdout.String() != "1\n" || strings.Contains(stderr.String(), "hint") {
				t.Errorf("got %v, stdout %q, stderr %s; want 1 and no hint", err, &stdout, &stderr)
			}
		})
	}
}

// A failed start already tells what the plugin needs. Another start could hang and would delay the command.
func TestNoWorkerIsStartedToSayWhatItsPluginNeeds(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs --rw in a sandbox")
	}
	for name, args := range map[string][]string{
		"run":    {"-p", "needy", "-j", "1", "--progress", "none", "1"},
		"verify": {"plugins", "verify", "needy", "1"},
	} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			if err := errors.Join(os.Chmod(folder, 0o777), os.Chmod(filepath.Dir(folder), 0o755)); err != nil { // if the host is root, workers run as other users
				t.Fatal(err)
			}
			cmd := command(t, slices.Concat(args[:len(args)-1], []string{"--sandbox", "basic", "--rw", folder, "--env", needyStarts + "=" + folder}, args[len(args)-1:])...)
			out, err := cmd.CombinedOutput()
			if cmd.ProcessState.ExitCode() == exitNoSandbox && os.Geteuid() != 0 {
				t.Skipf("no sandbox here: %s", out)
			}
			if want := "add: --ro " + needyFile; !strings.Contains(string(out), want) {
				t.Errorf("got %v, %s, want %q in it", err, out, want)
			}
			if starts, err := os.ReadDir(folder); err != nil || len(starts) != 1 {
				t.Errorf("got starts %v, %v, want one", starts, err)
			}
		})
	}
}
