package host_test

import (
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// levels is how deep the folder of a worker gets that digs.
const levels = 300

func init() {
	fakes["digs"] = func() {
		folder := os.Getenv("PLUGIN_UNIX_SOCKET_DIR")
		fakeServe(&liar{work: honest(func() {
			err := os.Chdir(folder)
			for range levels {
				err = errors.Join(err, unix.Mkdir("d", 0o700), unix.Chdir("d"))
			}
			if err != nil {
				panic(err)
			}
		})})
	}
}

// A folder that is deep takes no more descriptors of the host than another, and does not stay.
func TestADeepFolderGoesWithItsWorker(t *testing.T) {
	cfg := fake(t, "digs")
	p := open(t, cfg)
	if _, err := value(typed[int, int](p).Do(t.Context(), 1)); err != nil {
		t.Fatal(err)
	}
	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	few := before
	few.Cur = levels / 2
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &few); err != nil {
		t.Fatal(err)
	}
	p.Close()
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
		t.Error(err)
	}
	if left := names(t, cfg.TempDir); len(left) > 0 {
		t.Errorf("in TempDir: got %v, want nothing", left)
	}
}
