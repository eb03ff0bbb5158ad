package main

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/parhost/parhost/sdk"
)

// holdIfAsked plays a process that a test's worker leaves behind. In such a process it does not return.
var holdIfAsked = func() {}

// confineIfAsked executes a program in the circumstances of a container or a service, if the environment asks for it. It then does not return.
var confineIfAsked = func() {}

// The test binary is also the command, if its name says so, and a plugin, if it has the variables that a host sets for its workers.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == nosy {
		beNosy() // does not return
	}
	if filepath.Base(os.Args[0]) == several {
		beSeveral() // does not return
	}
	holdIfAsked()
	confineIfAsked()
	builtin = append(builtin, testWorkloads...)
	sdk.ServeChild(builtin...)
	testscript.Main(m, map[string]func(){"parhost": main})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("TMPDIR", t.TempDir()) // the default is a path that is too long for sockets
			e.Setenv("HOME", e.WorkDir)
			e.Setenv("XDG_CACHE_HOME", e.WorkDir+"/.cache")
			for key, value := range goEnv() {
				e.Setenv(key, value)
			}
			port, err := freePort()
			e.Setenv("PORT", port)
			return err
		},
	})
}

// freePort returns the number of a port at which nobody listens.
func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, err
}

// goEnv returns the environment that the go command needs in a script: its caches, and no network. The modules of a new plugin are in the cache
// already, because building this test has fetched them. Resolving them also takes the go.mod of each module that one of them names, which it has not.
var goEnv = sync.OnceValue(func() map[string]string {
	_ = exec.Command("go", "list", "-m", "all").Run() // without a network, a script says what is missing
	env := map[string]string{"GOPROXY": "off", "GOWORK": "off"}
	for _, key := range []string{"GOCACHE", "GOMODCACHE", "GOFLAGS"} {
		if out, err := exec.Command("go", "env", key).Output(); err == nil {
			env[key] = strings.TrimSpace(string(out))
		}
	}
	return env
})
