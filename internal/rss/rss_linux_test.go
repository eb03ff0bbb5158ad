package rss_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/parhost/parhost/internal/rss"
)

// headlessEnv makes a copy of the test binary a process whose first thread ends.
const headlessEnv = "RSS_TEST_HEADLESS"

const headlessBytes = 64 << 20

func init() {
	if os.Getenv(headlessEnv) != "" {
		runtime.LockOSThread() // locks the main goroutine to the first thread
	}
}

func TestMain(m *testing.M) {
	if os.Getenv(headlessEnv) != "" {
		kept := bytes.Repeat([]byte{1}, headlessBytes)
		go func() {
			for state, err := []byte(nil), error(nil); err == nil && !bytes.Contains(state, []byte("\nState:\tZ")); {
				state, err = os.ReadFile("/proc/self/status")
			}
			_, _ = os.Stdout.WriteString("ready\n")
			_, _ = os.Stdin.Read(kept[:1])
			os.Exit(0)
		}()
		_, _, _ = unix.Syscall(unix.SYS_EXIT, 0, 0, 0)
	}
	os.Exit(m.Run())
}

func TestOwnMemory(t *testing.T) {
	const private, shared = 64 << 20, 32 << 20
	kept := bytes.Repeat([]byte{1}, private)
	mapped, err := unix.Mmap(-1, 0, shared, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANON)
	if err != nil {
		t.Fatal(err)
	}
	copy(mapped, kept)
	m, err := rss.Read(os.Getpid())
	if err != nil || m.Anonymous+m.Swapped < private || m.Shared < shared || m.Resident < m.Anonymous+m.Shared {
		t.Errorf("got %+v and %v, want %d bytes of its own and %d shared", m, err, private, shared)
	}
	if mapped[0] != kept[0] { // uses both, so that they live until here
		t.Error("the memory has changed")
	}
	if err := unix.Munmap(mapped); err != nil {
		t.Error(err)
	}
}

// A process has its memory as long as one of its threads lives, and none when it has ended.
func TestAProcessWithoutItsFirstThread(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), headlessEnv+"=1")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = cmd.Process.Kill(), cmd.Wait() }()
	if n, err := out.Read(make([]byte, 16)); n == 0 {
		t.Fatalf("got %v, want a word that it is ready", err)
	}
	p, err := rss.Open(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if m, err := p.Read(); err != nil || m.Anonymous+m.Swapped < headlessBytes {
		t.Errorf("without its first thread: got %+v and %v, want at least %d bytes", m, err, headlessBytes)
	}
	own, err := os.ReadFile("/proc/self/cgroup")
	if places, err2 := p.Cgroups(); err2 != nil || err != nil || !bytes.Equal(places, own) {
		t.Errorf("got the cgroups %q and %v, want those of this process, %q", places, err2, own)
	}
	if err := in.Close(); err != nil {
		t.Error(err)
	}
	if err := unix.Waitid(unix.P_PID, cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
		t.Fatal(err)
	}
	if m, err := p.Read(); !errors.Is(err, rss.ErrEnded) {
		t.Errorf("one that has ended: got %+v and %v, want %v", m, err, rss.ErrEnded)
	}
	_ = cmd.Wait()
	for what, read := range map[string]func() (rss.Memory, error){"by its handle": p.Read, "by its number": func() (rss.Memory, error) { return rss.Read(cmd.Process.Pid) }} {
		if m, err := read(); !errors.Is(err, rss.ErrEnded) {
			t.Errorf("one that has been reaped, %s: got %+v and %v, want %v", what, m, err, rss.ErrEnded)
		}
	}
}
