package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/parhost/parhost/sdk"
)

// holdIfAsked is a process that a worker of a test leaves behind, and does not return there.
var holdIfAsked = func() {}

// confineIfAsked makes this process execute a program in the circumstances of a container or a service, and does not return there.
var confineIfAsked = func() {}

// The test binary is also the command, by its name, and the plugin, by the variables that a host sets for its children.
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
			e.Setenv("TMPDIR", t.TempDir()) // the script's own has too long a path for sockets
			e.Setenv("HOME", e.WorkDir)
			e.Setenv("XDG_CACHE_HOME", e.WorkDir+"/.cache")
			for key, value := range goEnv() {
				e.Setenv(key, value)
			}
			return nil
		},
	})
}

// goEnv is what the go command needs in a script: its caches, and no network, because what a new plugin needs has been fetched
// to build this test.
var goEnv = sync.OnceValue(func() map[string]string {
	env := map[string]string{"GOPROXY": "off", "GOWORK": "off"}
	for _, key := range []string{"GOCACHE", "GOMODCACHE", "GOFLAGS"} {
		if out, err := exec.Command("go", "env", key).Output(); err == nil {
			env[key] = strings.TrimSpace(string(out))
		}
	}
	return env
})
