package gobuild

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// ownToolchain keeps the go command from switching to another version of Go. If the go command needs to switch, its error message contains this text.
const ownToolchain = "GOTOOLCHAIN=local"

// KeepToolchain adds ownToolchain to an environment, so that the folder in which a go command starts cannot make it switch to another version of
// Go. It adds nothing if the user's environment sets GOTOOLCHAIN.
func KeepToolchain(env []string) []string {
	if _, set := os.LookupEnv("GOTOOLCHAIN"); set {
		return env
	}
	return append(env, ownToolchain)
}

// environ holds the settings of the user's go command.
type environ struct {
	dir    string // the package folder
	values map[string]string
	bounds *bounds
}

// Settings returns the settings of the go command that apply outside any module, by their names in go env. It runs the go command, and the error
// matches [ErrNoGo] if there is none.
func Settings(ctx context.Context) (map[string]string, error) {
	b := newBounds()
	e, err := readEnv(ctx, string(filepath.Separator), b)
	b.close(err != nil)
	if err != nil {
		return nil, err
	}
	return e.values, nil
}

// readEnv asks the go command for its settings in the folder dir.
//
// When go env reports all settings, it executes the C compiler. The user's settings may name any program as the compiler, and it would run
// unconfined. So the first question names a compiler that cannot be executed, and a second question asks for the names of the compilers.
func readEnv(ctx context.Context, dir string, b *bounds) (*environ, error) {
	e := &environ{dir: dir, bounds: b}
	for _, question := range []struct{ env, args []string }{
		{[]string{"CC=" + os.DevNull, "CXX=" + os.DevNull}, []string{"env", "-json"}},
		{nil, []string{"env", "-json", "CC", "CXX"}},
	} {
		out, err := e.ask(ctx, question.env, question.args...)
		if err != nil {
			return nil, err
		}
		if err := json.Unmarshal(out, &e.values); err != nil {
			return nil, err
		}
	}
	return e, nil
}

// ask runs a go command that compiles nothing and executes nothing from the folder or from its modules. It returns what the command wrote to stdout.
func (e *environ) ask(ctx context.Context, env []string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = e.dir
	cmd.Env = append(KeepToolchain(cmd.Environ()), env...)
	cmd.WaitDelay = time.Second
	out, words := head{most: maxListBytes}, head{most: maxWords}
	cmd.Stdout, cmd.Stderr = &out, &words
	if err := e.bounds.run(cmd); err != nil {
		return nil, explain(err, words.kept.Bytes())
	}
	if out.cut {
		return nil, fmt.Errorf("go %s: its answer is larger than %d bytes, which is the limit", args[0], maxListBytes)
	}
	return out.kept.Bytes(), nil
}

// goCommand returns the go program of the version that answered readEnv, so that no other version is selected for the build.
func (e *environ) goCommand() string {
	name := "go"
	if runtime.GOOS == "windows" {
		name = "go.exe"
	}
	path := filepath.Join(e.values["GOROOT"], "bin", name)
	if _, err := os.Stat(path); err != nil {
		return "go"
	}
	return path
}

// notPassed lists settings that the go command reports but does not accept, and those to which confined gives other values.
var notPassed = []string{"GODEBUG", "GOENV", "GOEXE", "GOGCCFLAGS", "GOHOSTARCH", "GOHOSTOS", "GOMOD", "GOTELEMETRY", "GOTELEMETRYDIR", "GOTOOLDIR", "GOVERSION"}

// confined is the environment of the go command that compiles. With GOENV=off the command does not read the settings file, which may hold passwords.
func (e *environ) confined(tmp string, cgo bool) []string {
	env := os.Environ()
	for key, value := range e.values {
		if !slices.Contains(notPassed, key) {
			env = append(env, key+"="+value)
		}
	}
	env = append(env, "GOENV=off", ownToolchain, "GOPROXY=off", "GOCACHEPROG=", "GOAUTH=off", "GOTMPDIR="+tmp, "TMPDIR="+tmp, cgoEnabled(cgo))
	return env
}

func cgoEnabled(is bool) string {
	if is {
		return "CGO_ENABLED=1"
	}
	return "CGO_ENABLED=0"
}

// compilerPaths returns the absolute paths that the user's environment names for C compilers.
func (e *environ) compilerPaths() []string {
	var paths []string
	for _, key := range []string{"CGO_CFLAGS", "CGO_CPPFLAGS", "CGO_CXXFLAGS", "CGO_FFLAGS", "CGO_LDFLAGS"} {
		for word := range strings.FieldsSeq(e.values[key]) {
			for _, flag := range []string{"-I", "-L", "-isystem", "--sysroot="} {
				word = strings.TrimPrefix(word, flag)
			}
			paths = append(paths, word)
		}
	}
	for _, key := range []string{"CPATH", "C_INCLUDE_PATH", "CPLUS_INCLUDE_PATH", "LIBRARY_PATH", "PKG_CONFIG_PATH", "PKG_CONFIG_LIBDIR"} {
		paths = append(paths, filepath.SplitList(os.Getenv(key))...)
	}
	return slices.DeleteFunc(paths, func(path string) bool { return !filepath.IsAbs(path) })
}
