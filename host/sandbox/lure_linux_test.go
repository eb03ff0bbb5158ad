package sandbox_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/parhost/parhost/host/sandbox"
	"github.com/parhost/parhost/internal/attempt"
)

// The host does not query a file system that is mounted over a socket: the file system need not answer, and a process that waits for it cannot be
// killed.
func TestWhatIsMountedOverASocketIsNotAsked(t *testing.T) {
	for _, over := range []string{"the socket", "its folder"} {
		t.Run(over, func(t *testing.T) {
			dir := t.TempDir()
			w := start(t, policyBox(t, sandbox.Policy{Level: sandbox.Off}), []string{"PLUGIN_UNIX_SOCKET_DIR=" + dir}, "serve")
			address := w.line()
			target := address
			if over == "its folder" {
				target = dir
			}
			lure, err := attempt.SetLure(target)
			if errors.Is(err, unix.EPERM) || errors.Is(err, os.ErrPermission) || errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV) {
				t.Skip("no file system can be mounted here: ", err)
			}
			if err != nil {
				t.Fatal(err)
			}
			name := filepath.Base(address)
			if err := w.launch.Check(name); (err != nil) != (over == "the socket") {
				t.Errorf("Check: got %v, want an error for what hides the socket alone", err)
			}
			if c, err := w.launch.Dial(t.Context(), name); err == nil {
				c.Close()
			} else if over == "its folder" {
				t.Errorf("Dial: got %v, want the socket that was there before", err)
			}
			if n := lure.Asked(); n > 0 {
				t.Errorf("it was asked %d times, want never", n)
			}
			if err := lure.Remove(); err != nil {
				t.Error(err)
			}
		})
	}
}
