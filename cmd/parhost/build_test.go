package main

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// writePlugin makes a folder with a plugin whose results and description are value, a Go expression. c is C code for value to use, or "".
func writePlugin(t *testing.T, c, value string) string {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	sums, err := os.ReadFile(filepath.Join(root, "go.sum"))
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "theirs")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	imports := ""
	if c != "" {
		imports = "/*\n" + c + "\n*/\nimport \"C\"\n"
	}
	for name, text := range map[string]string{
		"go.mod": strings.Replace(string(mod), "module "+modulePath+"\n", "module example.com/theirs\n", 1) + "\nrequire " + modulePath + " v0.0.0\n\nreplace " + modulePath + " => " + root + "\n",
		"go.sum": string(sums),
		"main.go": "package main\n\n" + imports + `
import (
	"context"

	"` + modulePath + `/sdk"
)

func main() {
	sdk.Serve(sdk.Func("theirs", func(context.Context, string) (string, error) { return ` + value + `, nil }).With(sdk.Manifest{Description: ` + value + `, Examples: []any{"x"}}))
}
`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for key, value := range goEnv() {
		t.Setenv(key, value)
	}
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	return dir
}

// A build must not embed files that the plugin could not read in a sandbox, whichever command starts the build.
func TestNoCommandBuildsAFileOfTheUsersIn(t *testing.T) {
	const secret = "s3cr3t-of-the-user"
	private := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(private, []byte(secret), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := writePlugin(t, `__asm__(".weak key\nkey: .incbin \"`+private+`\"\n.byte 0\n"); extern char key;`, "C.GoString(&C.key)")
	dossier := filepath.Join(t.TempDir(), "dossiers")
	if code, _, stderr := call(t, nil, "-p", "sqrt", "--dossier", dossier, "--", "-1"); code != exitFailed {
		t.Fatalf("got exit code %d, want %d: %s", code, exitFailed, stderr)
	}
	files, err := filepath.Glob(filepath.Join(dossier, "item-*.json"))
	if err != nil || len(files) != 1 {
		t.Fatalf("got the dossiers %q and %v, want one", files, err)
	}
	for name, args := range map[string][]string{
		"run":      {"-p", dir, `"x"`},
		"describe": {"plugins", "describe", dir},
		"verify":   {"plugins", "verify", dir},
		"lock":     {"plugins", "lock", dir, "--lock", filepath.Join(t.TempDir(), "lock")},
		"replay":   {"replay", files[0], "--plugin", dir},
	} {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := call(t, nil, args...)
			if code != exitNoWorker || stdout != "" || !strings.Contains(stderr, "C in example.com/theirs") || !strings.Contains(stderr, "hint: --cgo") {
				t.Errorf("got exit code %d, %q and %s, want %d and that there is C in it", code, stdout, stderr, exitNoWorker)
			}
			code, stdout, stderr = call(t, nil, append(args, "--cgo")...)
			if code != exitNoWorker || strings.Contains(stdout+stderr, secret) {
				t.Errorf("--cgo: got exit code %d, %q and %s, want %d and no secret", code, stdout, stderr, exitNoWorker)
			}
		})
	}
}

func TestCIsBuiltIfAskedFor(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("no C compiler can be confined here")
	}
	dir := writePlugin(t, "static char *key(void) { return \"hello\"; }", "C.GoString(C.key())")
	code, stdout, stderr := call(t, nil, "-p", dir, "--cgo", "-o", "values", "--raw", `"x"`)
	if code != exitOK || stdout != "hello\n" || !strings.Contains(stderr, "building") {
		t.Errorf("got exit code %d, %q and %s, want hello, and that it is built", code, stdout, stderr)
	}
}

// The first build takes a while, so parhost announces it, unless the user wants no progress.
func TestABuildIsSaid(t *testing.T) {
	dir := writePlugin(t, "", `"hello"`)
	for _, c := range []struct {
		args []string
		says bool
	}{
		{[]string{"--progress", "none"}, false},
		{nil, true},
	} {
		t.Setenv("XDG_CACHE_HOME", t.TempDir())
		code, stdout, stderr := call(t, nil, append(c.args, "-p", dir, "-o", "values", "--raw", `"x"`)...)
		if code != exitOK || stdout != "hello\n" || strings.Contains(stderr, "building "+quote(dir)) != c.says {
			t.Errorf("%q: got exit code %d, %q and %s, want hello, and said that it is built: %v", c.args, code, stdout, stderr, c.says)
		}
	}
}
