// Command suite runs the tests that the table of stopped attempts in docs/SANDBOX.md names, and prints the table with their outcomes.
//
// It must run in the top folder of the module, on Linux. As root it runs all tests twice: as root and as nobody.
package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

const (
	page     = "docs/SANDBOX.md"
	attempts = "TestAttempts" // this test prints a table of its own
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "suite:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer) error {
	rows, err := readRows(os.DirFS("."))
	if err != nil {
		return err
	}
	runs := []*account{{name: "this user"}}
	if os.Geteuid() == 0 {
		dir, err := os.MkdirTemp("", "suite-")
		if err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(dir) }()
		if err := os.Chmod(dir, 0o777); err != nil {
			return err
		}
		runs = []*account{{name: "root"}, {name: "nobody", dir: dir}}
	}
	for _, a := range runs {
		if err := a.run(ctx, rows); err != nil {
			return fmt.Errorf("as %s: %w", a.name, err)
		}
	}
	return show(out, rows, runs)
}

// row is one row of the page's table.
type row struct {
	what  string              // what a plugin tries to do
	tests []string            // tests that show the outcome
	homes map[string][]string // test → folders of the packages that have it
}

var testFunc = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)

// readRows returns the rows of the table whose columns begin with "the plugin tries to" and end with "test". It returns an error if one of the
// tests does not exist.
func readRows(module fs.FS) (rows []row, err error) {
	homes := map[string][]string{}
	err = fs.WalkDir(module, ".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "testdata" || len(path) > 1 && d.Name()[0] == '.'):
			return fs.SkipDir
		case !strings.HasSuffix(path, "_test.go"):
			return nil
		}
		source, err := fs.ReadFile(module, path)
		for _, f := range testFunc.FindAllSubmatch(source, -1) {
			if name, dir := string(f[1]), "./"+filepath.ToSlash(filepath.Dir(path)); !slices.Contains(homes[name], dir) {
				homes[name] = append(homes[name], dir)
			}
		}
		return err
	})
	markdown, unread := fs.ReadFile(module, page)
	if err = errors.Join(err, unread); err != nil {
		return nil, err
	}
	inside := false
	for line := range strings.Lines(string(markdown)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		what, last := strings.TrimSpace(cells[0]), strings.TrimSpace(cells[len(cells)-1])
		inside = strings.HasPrefix(line, "|") && (inside || what == "the plugin tries to" && last == "test")
		if !inside || last == "test" || strings.Trim(what, "-") == "" {
			continue
		}
		r := row{what, strings.Split(last, ", "), map[string][]string{}}
		for _, name := range r.tests {
			if r.homes[name] = homes[name]; len(homes[name]) == 0 {
				return nil, fmt.Errorf("%s, row %q: there is no test %q", page, what, name)
			}
		}
		rows = append(rows, r)
	}
	if len(rows) == 0 {
		return nil, fmt.Errorf("%s has no table whose columns begin with %q and end with %q", page, "the plugin tries to", "test")
	}
	return rows, nil
}

// account is a user who runs the tests, and the outcomes.
type account struct {
	name    string
	dir     string // for another user: the only folder that this user may write to; empty for the present user
	results map[string]*result
}

// result is the outcome of a test and its subtests.
type result struct {
	ended, failed bool
	skips         []string
	said          strings.Builder
}

// run runs the tests, one package after the other because they start hundreds of processes.
func (a *account) run(ctx context.Context, rows []row) error {
	a.results = map[string]*result{}
	packages := map[string][]string{}
	for _, r := range rows {
		for name, dirs := range r.homes {
			a.results[name] = &result{}
			for _, dir := range dirs {
				packages[dir] = append(packages[dir], name)
			}
		}
	}
	for _, dir := range slices.Sorted(maps.Keys(packages)) {
		fmt.Fprintf(os.Stderr, "suite: %s as %s …\n", dir, a.name)
		cmd, err := a.command(ctx, dir, "^("+strings.Join(packages[dir], "|")+")$")
		if err != nil {
			return fmt.Errorf("%s: %w", dir, err)
		}
		cmd.Stderr = os.Stderr
		events, err := cmd.Output()
		if _, ended := errors.AsType[*exec.ExitError](err); ctx.Err() != nil || err != nil && !ended {
			return fmt.Errorf("%s: %w", dir, errors.Join(err, context.Cause(ctx)))
		}
		a.collect(events)
	}
	return nil
}

// command returns a go test command. For another user it returns a command that does the same in a folder of that user, with programs built
// beforehand, because the user cannot build them.
func (a *account) command(ctx context.Context, dir, pattern string) (*exec.Cmd, error) {
	if a.dir == "" {
		return exec.CommandContext(ctx, "go", "test", "-json", "-count=1", "-run", pattern, dir), nil
	}
	program, hostile := filepath.Join(a.dir, filepath.Base(dir)+".test"), filepath.Join(a.dir, "hostile")
	plugin := exec.CommandContext(ctx, "go", "build", "-o", hostile, "./host/sandbox/testdata/hostile")
	plugin.Env = append(os.Environ(), "CGO_ENABLED=0")
	for _, build := range []*exec.Cmd{plugin, exec.CommandContext(ctx, "go", "test", "-c", "-o", program, dir)} {
		if out, err := build.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("%s: %w\n%s", build, err, out)
		}
	}
	module, cache, err := a.copies(ctx)
	if err != nil {
		return nil, err
	}
	const nobody = "65534"
	// test2json ignores signals, and the processes that it starts would inherit that.
	cmd := exec.CommandContext(ctx, "go", "tool", "test2json", "setpriv", "--reuid", nobody, "--regid", nobody, "--clear-groups",
		"env", "-i", "--default-signal", "PATH="+os.Getenv("PATH"), "HOME="+a.dir, "TMPDIR="+os.TempDir(), "SANDBOX_TEST_HOSTILE="+hostile,
		"GOMODCACHE="+cache, "GOPROXY=off", "GOFLAGS=-buildvcs=false",
		program, "-test.v=test2json", "-test.timeout=10m", "-test.run="+pattern)
	cmd.Dir = filepath.Join(module, dir)
	return cmd, nil
}

// copies makes copies of the module and of the module cache that another user can read. It does so only once.
func (a *account) copies(ctx context.Context) (module, cache string, err error) {
	module, cache = filepath.Join(a.dir, "module"), filepath.Join(a.dir, "modules")
	if _, err := os.Stat(module); err == nil {
		return module, cache, nil
	}
	const script = `set -e; mkdir -m 755 "$1"; git ls-files -z | xargs -0 cp --parents -t "$1"; chmod -R a+rX "$1"
from=$(go env GOMODCACHE); cp -rl "$from" "$2" 2>/dev/null || { rm -rf "$2"; cp -r "$from" "$2"; }; chmod 755 "$2"`
	if out, err := exec.CommandContext(ctx, "sh", "-c", script, "sh", module, cache).CombinedOutput(); err != nil {
		return "", "", fmt.Errorf("copy the module: %w\n%s", err, out)
	}
	return module, cache, nil
}

// collect adds up the events of go test -json.
func (a *account) collect(events []byte) {
	last := map[string]string{} // the last output line of each test and subtest
	for line := range bytes.Lines(events) {
		var e struct{ Action, Test, Output string }
		name := ""
		if json.Unmarshal(line, &e) == nil {
			name, _, _ = strings.Cut(e.Test, "/")
		}
		r := a.results[name]
		switch word := strings.TrimSpace(e.Output); {
		case r == nil || strings.HasPrefix(word, "=== ") || strings.HasPrefix(word, "--- "):
		case e.Action == "output":
			r.said.WriteString(e.Output)
			last[e.Test] = word
		case e.Action == "pass" || e.Action == "fail" || e.Action == "skip":
			r.ended = r.ended || e.Test == name
			r.failed = r.failed || e.Action == "fail"
			if _, why, _ := strings.Cut(last[e.Test], ": "); e.Action == "skip" { // the reason follows the place in the source
				r.skips = append(r.skips, e.Test+" skipped: "+why)
			}
		}
	}
}

// show prints the table, the attempts at each level, and the output of failed tests.
func show(out io.Writer, rows []row, runs []*account) error {
	w := table.NewWriter()
	w.SetStyle(table.StyleLight)
	w.Style().Options = table.Options{SeparateHeader: true, SeparateRows: true}
	w.Style().Format.Header = text.FormatDefault
	w.SuppressTrailingSpaces()
	header := table.Row{"the plugin tries to", "test"}
	var more strings.Builder
	for _, a := range runs {
		header = append(header, "as "+a.name)
		fmt.Fprintf(&more, "\n%s as %s:\n%s", attempts, a.name, a.results[attempts].said.String())
	}
	w.AppendHeader(header)
	var err error
	for _, r := range rows {
		cells := table.Row{text.WrapSoft(r.what, 40), strings.Join(r.tests, "\n")}
		for _, a := range runs {
			var lines []string
			for _, name := range r.tests {
				t := a.results[name]
				for _, skip := range t.skips {
					lines = append(lines, text.WrapSoft(text.Snip(skip, 150, "…"), 50))
				}
				if t.failed || !t.ended {
					lines = append(lines, name+map[bool]string{true: " failed", false: " did not run to its end"}[t.ended])
					fmt.Fprintf(&more, "\n%s as %s:\n%s", name, a.name, t.said.String())
					err = errors.New("not all of this is stopped here, or it cannot be seen")
				}
			}
			cells = append(cells, cmp.Or(strings.Join(lines, "\n"), "ok"))
		}
		w.AppendRow(cells)
	}
	_, failed := fmt.Fprintln(out, w.Render()+"\n"+more.String())
	return errors.Join(err, failed)
}
