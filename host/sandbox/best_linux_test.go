package sandbox_test

import (
	"context"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/parhost/parhost/host/sandbox"
)

func init() { roles["unbindable"] = unbindableHost }

// levelsWithout returns the best level for a policy that asks for nothing, and whether the machine supports basic.
func levelsWithout(t *testing.T) (best sandbox.Level, basic bool) {
	t.Helper()
	r, err := sandbox.Probe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return r.Best, r.Levels[0].OK
}

// A level may work on this machine and still not work with a certain policy.
func TestBestIsWhatThePolicyStartsAt(t *testing.T) {
	best, basic := levelsWithout(t)
	if best != sandbox.Strict || !basic {
		t.Skipf("this machine does not have all levels: %v", sandbox.ErrNotSupported)
	}
	folder := t.TempDir()
	all := sandbox.Policy{
		OpenFiles: 64, FileBytes: 1 << 20, TmpBytes: 1 << 20, PIDs: 64, AllowNet: true, AllowFork: true,
		ReadOnly: []sandbox.Bind{{Source: "/usr"}}, ReadWrite: []sandbox.Bind{{Source: folder}},
	}
	for name, c := range map[string]struct {
		policy sandbox.Policy
		want   sandbox.Level
		says   string
	}{
		"all that can be opened":        {policy: all, want: sandbox.Strict},
		"a folder of strict's own root": {policy: sandbox.Policy{ReadOnly: []sandbox.Bind{{Source: "/dev"}}}, want: sandbox.Basic},
		"no cgroup for its limit":       {policy: sandbox.Policy{CPUs: 0.5, CgroupParent: "parhost/is/not/there"}, says: "Policy.CPUs is 0.5, which takes a cgroup that the host may write to: "},
		"more CPUs than a cgroup holds": {policy: sandbox.Policy{CPUs: math.Inf(1)}, says: "the most is 65536 (Policy.CPUs)"},
		"a limit that is too low":       {policy: sandbox.Policy{PIDs: 1}, says: "the least is 8 (Policy.PIDs)"},
		"a file that is not there":      {policy: sandbox.Policy{ReadOnly: []sandbox.Bind{{Source: filepath.Join(folder, "x")}}}, says: "no such file"},
	} {
		got, err := sandbox.Best(t.Context(), c.policy)
		if got != c.want || (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: got level %v and the error %v, want %v and %q", name, got, err, c.want, c.says)
		}
		if err != nil {
			continue
		}
		c.policy.Level = got
		path, err := hostile()
		if err != nil {
			t.Fatal(err)
		}
		b, err := sandbox.Open(t.Context(), c.policy, path, "")
		if err != nil {
			t.Errorf("%s: Open at level %v: got %v", name, got, err)
			continue
		}
		b.Close()
	}
}

// The kernel does not clone an unbindable mount, so strict cannot show it (mount_namespaces(7)). Basic opens it in its place.
func TestBestStartsWithTheMountsOfThePolicy(t *testing.T) {
	if best, basic := levelsWithout(t); best != sandbox.Strict || !basic || os.Geteuid() != 0 {
		t.Skipf("this machine does not have all levels, or this is not root, who may mount: %v", sandbox.ErrNotSupported)
	}
	folder := t.TempDir()
	for dir := folder; dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		_ = os.Chmod(dir, 0o755) // so that workers of other users can enter it
	}
	host := exec.Command("/proc/self/exe")
	host.Env = append(os.Environ(), roleEnv+"=unbindable", "FOLDER="+folder)
	host.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS}
	out, err := host.CombinedOutput()
	if want := "without: strict <nil>\nwith: basic <nil>\n"; err != nil || string(out) != want {
		t.Errorf("got %q and %v, want %q", out, err, want)
	}
}

// unbindableHost is a host in its own mount namespace.
func unbindableHost() error {
	folder := os.Getenv("FOLDER")
	err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
	if err == nil {
		err = unix.Mount("tmpfs", folder, "tmpfs", 0, "mode=755")
	}
	if err == nil {
		err = unix.Mount("", folder, "", unix.MS_UNBINDABLE, "")
	}
	if err != nil {
		return fmt.Errorf("mount: %w", err)
	}
	for _, c := range []struct {
		name string
		bind []sandbox.Bind
	}{{"without", nil}, {"with", []sandbox.Bind{{Source: folder}}}} {
		level, err := sandbox.Best(context.Background(), sandbox.Policy{ReadOnly: c.bind})
		fmt.Printf("%s: %v %v\n", c.name, level, err)
	}
	return nil
}
