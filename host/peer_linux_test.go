package host_test

import (
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

func init() {
	fakes["hard link"] = func() {
		if err := os.Link(os.Getenv(foreignSocket), socket()); err != nil {
			panic(err)
		}
		shake("unix", socket(), "grpc")
	}
	fakes["moved socket"] = func() {
		if err := os.Rename(os.Getenv(foreignSocket), socket()); err != nil {
			panic(err)
		}
		shake("unix", socket(), "grpc")
	}
	fakes["server in a session of its own"] = func() {
		exe, err := os.Executable()
		if err != nil {
			panic(err)
		}
		cmd := exec.Command(exe)
		cmd.Env = append(os.Environ(), fakeEnv+"=noise after")
		cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = os.Stdout, os.Stderr, newSession()
		if err := cmd.Run(); err != nil {
			panic(err)
		}
	}
}

// Without walls a plugin can put a socket that is not its own into its folder. The host finds out whose it is, and says nothing to it.
func TestAForeignSocketIsNotSpokenTo(t *testing.T) {
	for _, name := range []string{"hard link", "moved socket"} {
		t.Run(name, func(t *testing.T) {
			l, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: filepath.Join(shortDir(t), "s")})
			if err != nil {
				t.Fatal(err)
			}
			heard := make(chan string, 1)
			go func() {
				var words []byte
				if c, err := l.Accept(); err == nil {
					words, _ = io.ReadAll(c)
					_ = c.Close()
				}
				heard <- string(words)
			}()
			cfg := fake(t, name)
			cfg.Env = append(cfg.Env, foreignSocket+"="+l.Addr().String())
			failsToStart(t, cfg, "describe", "which is none of the plugin's", "")
			_ = l.Close()
			if words := <-heard; words != "" {
				t.Errorf("a server that is not the plugin's: got %q, want nothing", words)
			}
		})
	}
}

// What a plugin has started may serve in its place, wherever it has gone.
func TestAServerMayBeWhatThePluginHasStarted(t *testing.T) {
	p := open(t, fake(t, "server in a session of its own"))
	if got, err := value(typed[int, int](p).Do(t.Context(), 1)); err != nil || got != 1 {
		t.Errorf("Do: got %v, %v, want 1", got, err)
	}
}
