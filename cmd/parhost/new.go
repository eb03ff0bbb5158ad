package main

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"text/template"

	"github.com/spf13/cobra"

	"github.com/parhost/parhost/internal/gobuild"
	"github.com/parhost/parhost/internal/plain"
	"github.com/parhost/parhost/internal/wire"
)

// modulePath is the module from which new plugins import package sdk.
const modulePath = "github.com/parhost/parhost"

//go:embed scaffold
var scaffold embed.FS

// newNew returns the new command, which makes the skeleton of a plugin.
func newNew(s *streams) *cobra.Command {
	var o newOptions
	cmd := &cobra.Command{
		Use:   "new NAME",
		Short: "make a plugin to start from: a small Go module with a test",
		Long: `Make a plugin to start from: a folder with a Go module of one workload, a test that passes, and a README that says how to go on.

The module requires the version of parhost that makes it. A parhost that was built from a work tree has no version: the module
then says where that work tree is (a replace line), and works as long as it is there.`,
		Example: "  parhost new mean\n  cd mean && go test ./... && parhost --plugin .",
		Args:    between(1, 1, "parhost new my-plugin"),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.name = args[0]
			ctx, stop := interruptible(cmd, s)
			defer stop()
			return whenInterrupted(ctx, makePlugin(ctx, s, o))
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.dir, "dir", "", "the `folder` to make (default NAME)")
	f.StringVar(&o.module, "module", "", "the module's `path` (default example.com/NAME)")
	f.StringVar(&o.replace, "replace", "", "use the work tree of parhost in this `folder`")
	return withExitCodes(cmd, `  0  made
  1  made, but Go could not resolve what it needs: it says what to do
  2  wrong usage; nothing was made
`)
}

type newOptions struct{ name, dir, module, replace string }

// modules matches valid module paths approximately: the go command checks them in full.
var modules = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._~-]*(/[A-Za-z0-9._~-]+)*$`)
})

func makePlugin(ctx context.Context, s *streams, o newOptions) error {
	if !wire.ValidName(o.name) {
		hint := "parhost new " + likeName(o.name)
		if isPath(o.name) {
			hint += " --dir " + o.name
		}
		return usageError(hint, "%q is no name for a plugin: it takes letters, digits, \"-\", \"_\" and \".\", a letter or digit first", o.name)
	}
	if o.dir == "" {
		o.dir = o.name
	}
	if o.module == "" {
		o.module = "example.com/" + o.name
	}
	if !modules().MatchString(o.module) {
		return usageError("write --module example.com/"+o.name, "--module %q is no path of a module", o.module)
	}
	entries, err := os.ReadDir(o.dir)
	switch {
	case err == nil && len(entries) > 0:
		return usageError("parhost new "+o.name+" --dir OTHER", "folder %q is not empty, and nothing in it shall be lost", o.dir)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return usageError("parhost new "+o.name+" --dir OTHER", "%q cannot be the folder: %v", o.dir, err)
	}
	source, err := findSource(ctx, o.replace)
	if err != nil {
		return err
	}
	files, err := renderPlugin(o, source)
	if err != nil {
		return err
	}
	if err := writeFiles(o.dir, files); err != nil {
		return err
	}
	if err := resolve(ctx, o.dir); err != nil {
		return &exitError{
			code: exitFailed, err: fmt.Errorf("%s is made, but Go could not resolve what it needs: %w", o.dir, err),
			hint: "once what it misses is there: cd " + o.dir + " && go get -t ./... && go test ./...",
		}
	}
	return s.out.printf("made %s. To go on:\n  cd %s\n  go test ./...\n  parhost --plugin .\n", o.dir, quote(o.dir))
}

// likeName returns a valid plugin name that resembles text.
func likeName(text string) string {
	name := regexp.MustCompile(`[^A-Za-z0-9._-]+`).ReplaceAllString(filepath.Base(text), "-")
	if name = strings.Trim(name, "-._"); name == "" {
		return "my-plugin"
	}
	return name
}

// findSource returns the folder of the work tree that a new module must use, or "" if this parhost has a published version that the module can
// require.
func findSource(ctx context.Context, given string) (string, error) {
	if given != "" {
		dir, err := filepath.Abs(given)
		if err != nil || moduleOf(dir) != modulePath {
			return "", usageError("give the folder that has parhost's go.mod", "--replace %q is no work tree of %s", given, modulePath)
		}
		return dir, nil
	}
	if thisBuild().released() {
		return "", nil
	}
	// The compiler records the path of this source file, unless it is called with -trimpath.
	if _, file, _, ok := runtime.Caller(0); ok && filepath.IsAbs(file) {
		if dir := filepath.Join(filepath.Dir(file), "..", ".."); moduleOf(dir) == modulePath {
			return dir, nil
		}
	}
	// The current folder may be in the work tree, or in a module that uses the work tree.
	list := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", modulePath)
	list.Env = gobuild.KeepToolchain(list.Environ())
	if out, err := list.Output(); err == nil {
		if dir := strings.TrimSpace(string(out)); moduleOf(dir) == modulePath {
			return dir, nil
		}
	}
	return "", usageError("parhost new NAME --replace DIR, with the folder that has parhost's go.mod",
		"this parhost was built from a work tree, and it is not known where that is")
}

// moduleOf returns the path of the module in a folder, or "".
func moduleOf(dir string) string { return goModLine(dir, "module") }

// maxModule is the largest size of a go.mod or go.sum that is read, in bytes.
const maxModule = 16 << 20

// goModLine returns the word after keyword in the go.mod of a folder, or "" if there is no such line.
func goModLine(dir, keyword string) string {
	text, err := plain.Read(filepath.Join(dir, "go.mod"), maxModule)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) >= 2 && f[0] == keyword {
			return f[1]
		}
	}
	return ""
}

// renderPlugin returns the contents of the files of a new plugin, by file name.
func renderPlugin(o newOptions, source string) (map[string][]byte, error) {
	data := struct{ Name, Module, Go, Version, Replace string }{
		Name: o.name, Module: o.module, Go: goVersion(), Version: thisBuild().Version,
	}
	files := map[string][]byte{}
	if source != "" {
		data.Version, data.Replace = "v0.0.0", replacement(o.dir, source)
		if v := goModLine(source, "go"); v != "" {
			data.Go = v
		}
		// With parhost's go.sum, Go can resolve the module without a network.
		if sums, err := plain.Read(filepath.Join(source, "go.sum"), maxModule); err == nil {
			files["go.sum"] = sums
		}
	}
	templates, err := template.ParseFS(scaffold, "scaffold/*.tmpl")
	if err != nil {
		return nil, err
	}
	for _, t := range templates.Templates() {
		var b bytes.Buffer
		if err := t.Execute(&b, data); err != nil {
			return nil, err
		}
		files[strings.TrimSuffix(t.Name(), ".tmpl")] = b.Bytes()
	}
	return files, nil
}

// goVersion returns the Go version for the new module's go.mod. Its patch number is 0, so that any Go of this or a later release works.
func goVersion() string {
	v := strings.TrimPrefix(runtime.Version(), "go")
	if parts := strings.SplitN(v, ".", 3); len(parts) >= 2 && !strings.ContainsAny(parts[0]+parts[1], " -") {
		return parts[0] + "." + parts[1] + ".0"
	}
	return "1.26.0"
}

// replacement returns the path of the work tree for the replace line in dir's go.mod. The path is relative if dir lies inside the work tree, so that
// both can be moved together.
func replacement(dir, source string) string {
	path := source
	if abs, err := filepath.Abs(dir); err == nil {
		if rel, err := filepath.Rel(source, abs); err == nil && filepath.IsLocal(rel) {
			if back, err := filepath.Rel(abs, source); err == nil {
				path = filepath.ToSlash(back)
			}
		}
	}
	if strings.ContainsAny(path, " \t\"'`,()[]{}") {
		return strconv.Quote(path)
	}
	return path
}

// writeFiles creates a folder with files. If it fails, it removes the folder, unless the folder existed before.
func writeFiles(dir string, files map[string][]byte) (err error) {
	_, missing := os.Stat(dir)
	defer func() {
		if err != nil && missing != nil {
			_ = os.RemoveAll(dir)
		}
	}()
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	folder, err := plain.OpenFolder(dir)
	if err != nil {
		return err
	}
	defer folder.Close()
	for name, content := range files {
		if err := plain.Put(folder, name, 0o666, content); err != nil {
			return err
		}
	}
	return nil
}

// resolve lets the go command fill in the module's requirements. It does not use go mod tidy, because that also wants the test dependencies of other
// modules. None of these is built here, and a machine that has built parhost may not have them.
func resolve(ctx context.Context, dir string) error {
	cmd := exec.CommandContext(ctx, "go", "get", "-t", "./...")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off") // a go.work file in a parent folder does not list the new module
	out, err := cmd.CombinedOutput()
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return errors.New("there is no go command here")
	case err != nil:
		lines := slices.DeleteFunc(strings.Split(string(out), "\n"), func(l string) bool { return strings.HasPrefix(l, "go: finding") || l == "" })
		return fmt.Errorf("%w: %s", err, strings.Join(lines, "\n"))
	}
	return nil
}
