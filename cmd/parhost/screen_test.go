package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"hash/crc32"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/parhost/parhost/host"
)

// rudeName is a possible name of a file that contains control characters.
const rudeName = "x\x1b]0;title\x07\x1b[2J\nparhost: hint: run rm\r\u009b31m\u202e\u2066\x7f\xff"

// checkPlain checks that a text does not control a terminal, and that no line that parhost did not write looks like one of its messages.
func checkPlain(t *testing.T, what, text string) {
	t.Helper()
	for line := range strings.Lines(text) {
		if !utf8.ValidString(line) || strings.ContainsFunc(strings.TrimSuffix(line, "\n"), func(r rune) bool { return r != '\t' && !unicode.IsPrint(r) }) {
			t.Errorf("%s: got the line %q, want it escaped", what, line)
		}
		if strings.HasPrefix(line, "parhost: hint: run rm") {
			t.Errorf("%s: got %q as a line of the command's own", what, line)
		}
	}
}

func TestWordsOfOthersDoNothingToATerminal(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("files of Windows cannot have such names")
	}
	t.Chdir(t.TempDir())
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	folder := rudeName
	if err := os.Mkdir(folder, 0o755); err != nil {
		t.Skipf("the file system takes no such name: %v", err)
	}
	// The three plugins: one starts, one exits, and one is not a program. The last file also stands for invalid input of every other kind.
	good, dies, none := filepath.Join(folder, "parhost-plugin-"+rudeName), filepath.Join(folder, "parhost-plugin-dies"+rudeName), "none"+rudeName
	for path, text := range map[string]string{
		good: "#!/bin/sh\nPARHOST_WORKLOAD=rude exec '" + self + "'\n",
		dies: "#!/bin/sh\nprintf 'x\\033[2J\\302\\233\\nparhost: hint: run rm\\n' >&2\nexit 1\n",
		none: rudeName,
	} {
		if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	lock := rudeName + ".lock"
	if err := os.WriteFile(lock, fmt.Appendf(nil, `{"lock":1,"plugins":[{"name":%q,"sha256":"x"}]}`, "x\u202e"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PARHOST_PLUGIN_PATH", folder)
	t.Setenv("TMPDIR", rudeName+"/none")
	for _, args := range [][]string{
		{"plugins", "list"},
		{"plugins", "list", "--json"},
		{"plugins", "list", "--sandbox", rudeName},
		{"plugins", "lock", "--sandbox", "off"},
		{"plugins", "lock", "./" + good, "--sandbox", "off", "--lock", "new" + rudeName},
		{"plugins", "lock", "./" + dies, "--sandbox", "off"},
		{"plugins", "list", "--lock", lock},
		{"plugins", "verify", "./" + good},
		{"plugins", "verify", "./" + good, "--json"},
		{"plugins", "verify", "./" + dies},
		{"plugins", "verify", rudeName},
		{"plugins", "verify", "sqrt", rudeName},
		{"plugins", "describe", "./" + good, "--sandbox", "off"},
		{"plugins", "describe", "./" + dies, "--sandbox", "off"},
		{"plugins", rudeName},
		{"doctor"},
		{"doctor", "--json"},
		{"new", rudeName},
		{"new", "fine", "--dir", none},
		{"replay", none},
		{"version", rudeName},
		{"completion", rudeName},
		{"__complete", "plugins", "verify", "--plugin-dir", rudeName, ""},
		{"help", rudeName},
		{"--" + rudeName},
		{"-p", rudeName},
		{"-p", "./" + dies, "1"},
		{"-p", "./" + folder, "1"},
		{"-p", "sqrt", rudeName},
		{"-p", "sqrt", "-o", "jsonl", `"` + rudeName + `"`},
		{"-p", "sqrt", "-i", rudeName},
		{"-p", "sqrt", "-i", none},
		{"-p", "sqrt", "-i", none, "-o", "jsonl"},
		{"-p", "sqrt", "-i", none, "-o", "table"},
		{"-p", "sqrt", "--joblog", none, "1"},
		{"-p", "sqrt", "--joblog", "job" + rudeName, "--log-level", "debug", "1"},
		{"-p", "sqrt", "--report", rudeName + "/none/x.json", "1"},
		{"-p", "sqrt", "--dossier", none, "1"},
		{"-p", "sqrt", "--dossier", "d" + rudeName, "--", "-1"},
		{"-p", "sqrt", "--env", rudeName, "1"},
		{"-p", "sqrt", "--range", rudeName},
		{"-p", "sqrt", "--on-error", rudeName, "1"},
		{"-p", "sqrt", "--sandbox", "basic", "--ro", rudeName + "no", "1"},
		{"-p", "sqrt", "--lock", lock, "1"},
		{"-p", "sqrt", "--checksum", rudeName, "1"},
		{"-p", "rude", "-o", "jsonl", "--log-level", "info", "--log-format", "json", `"fail"`, `"panic"`},
		{"-p", "rude", "-o", "table", "--compare", `"fail"`, `"result"`},
	} {
		code, stdout, stderr := call(t, strings.NewReader(""), args...)
		checkPlain(t, fmt.Sprintf("%.60q", args), stdout+stderr)
		if slices.Contains(args, "./"+good) && code > exitFailed {
			t.Errorf("%.60q: got exit code %d and %s, want the plugin to start", args, code, stderr)
		}
		for line := range strings.Lines(stderr) {
			if strings.HasPrefix(line, `{"@level"`) && !json.Valid([]byte(line)) {
				t.Errorf("%.60q: got the line %q of the log, want JSON", args, line)
			}
		}
		if stdout+stderr == "" {
			t.Errorf("%.60q says nothing", args)
		}
	}
}

// All lines of a foreign message with several lines must be indented.
func TestAStackDoesNotBeginALineOfItsOwn(t *testing.T) {
	dir := t.TempDir()
	if code, _, stderr := call(t, nil, "-p", "rude", "-o", "none", "--dossier", dir, `"panic"`); code != exitFailed {
		t.Fatalf("got exit code %d: %s", code, stderr)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil || len(files) != 1 {
		t.Fatalf("got %q, %v, want a dossier", files, err)
	}
	_, stdout, stderr := call(t, nil, "replay", files[0])
	checkPlain(t, "replay", stdout+stderr)
	for line := range strings.Lines(stderr) {
		if !strings.HasPrefix(line, "parhost: ") && !strings.HasPrefix(line, "  ") && !strings.HasPrefix(line, "its stack:") && !isLogLine(line) {
			t.Errorf("got the line %q, want it indented", line)
		}
	}
}

func isLogLine(line string) bool {
	return len(line) > 4 && line[4] == '-' || strings.Contains(line, " | ")
}

// All text for stdout and stderr must go through screens, because no other code can reach these streams. This test checks the source code.
func TestNothingGoesPastTheScreens(t *testing.T) {
	allowed := map[string][]string{
		"os.Stdout": {"main.go"}, "os.Stderr": {"main.go"}, // arguments of run
		".stream":   {"terminal.go"},
		"screen{}":  {"terminal.go"},
		".data":     {"output.go", "replay.go"}, // results
		"layout()":  {"plugins.go", "terminal.go", "version.go"},
		"go-pretty": {"terminal.go"},
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	fset := token.NewFileSet()
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(fset, name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		found := func(n ast.Node, what string) {
			if !slices.Contains(allowed[what], name) {
				t.Errorf("%s: %s is for %q alone", fset.Position(n.Pos()), what, allowed[what])
			}
		}
		for _, spec := range file.Imports {
			switch path, _ := strconv.Unquote(spec.Path.Value); {
			case strings.Contains(path, "go-pretty"):
				found(spec, "go-pretty")
			case path == "log", path == "log/slog":
				found(spec, path)
			}
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.SelectorExpr:
				of, _ := n.X.(*ast.Ident)
				switch {
				case of != nil && of.Name == "os" && (n.Sel.Name == "Stdout" || n.Sel.Name == "Stderr" || n.Sel.Name == "NewFile"):
					found(n, "os."+n.Sel.Name)
				case of != nil && of.Name == "syscall" && !systemName.MatchString(n.Sel.Name):
					found(n, "syscall."+n.Sel.Name)
				case of != nil && of.Name == "fmt" && strings.HasPrefix(n.Sel.Name, "Print"):
					found(n, "fmt."+n.Sel.Name)
				case n.Sel.Name == "stream" || n.Sel.Name == "data":
					found(n, "."+n.Sel.Name)
				case n.Sel.Name == "OutOrStdout" || n.Sel.Name == "ErrOrStderr":
					found(n, n.Sel.Name)
				}
			case *ast.CompositeLit:
				if id, ok := n.Type.(*ast.Ident); ok && id.Name == "screen" {
					found(n, "screen{}")
				}
			case *ast.CallExpr:
				switch f := n.Fun.(type) {
				case *ast.Ident:
					if f.Name == "print" || f.Name == "println" {
						found(n, f.Name)
					}
					if f.Name == "layout" {
						found(n, "layout()")
					}
				case *ast.SelectorExpr:
					if f.Sel.Name == "say" && !saysItsOwn(n) {
						t.Errorf("%s: the format of say is to begin with words of the command", fset.Position(n.Pos()))
					}
					if f.Sel.Name == "printf" && !isLiteral(n.Args[0]) {
						t.Errorf("%s: the format of printf is to be a literal", fset.Position(n.Pos()))
					}
				}
			}
			return true
		})
	}
}

// systemName matches names of package syscall or unix that are errors, signals or file attributes. They write nothing.
var systemName = regexp.MustCompile(`^((E|SIG)[A-Z0-9]+|Stat_t)$`)

func isLiteral(e ast.Expr) bool {
	_, ok := e.(*ast.BasicLit)
	return ok
}

// saysItsOwn reports whether the text of a call of say begins with a word of parhost or with a number.
func saysItsOwn(call *ast.CallExpr) bool {
	if id, ok := call.Args[0].(*ast.Ident); ok && id.Name == "s" { // dossiers.say(streams)
		return true
	}
	if sel, ok := call.Args[0].(*ast.SelectorExpr); ok && sel.Sel.Name == "streams" {
		return true
	}
	literal, ok := call.Args[0].(*ast.BasicLit)
	return ok && (!strings.HasPrefix(literal.Value, `"%`) || strings.HasPrefix(literal.Value, `"%d `))
}

// sealed returns a line of a joblog with its correct checksum.
func sealed(line string) string {
	return fmt.Sprintf(`%s,"crc":"%08x"}`+"\n", line, crc32.Checksum([]byte(line), crc32.MakeTable(crc32.Castagnoli)))
}

// Anybody can write a record with a correct checksum. It counts only if a plugin could have produced its result.
func TestAForgedRecordIsNoResult(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "run.joblog")
	if code, _, stderr := call(t, nil, "-p", "sqrt", "--joblog", path, "-o", "none", "4", "9"); code != exitOK {
		t.Fatalf("got exit code %d: %s", code, stderr)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(text), "\n")
	for what, value := range map[string]string{
		"two records":       `2} ` + `{"index":1,"value":98765432109`,
		"a carriage return": "[1,\r2]",
		"an escape":         "\"\x1b[2J\"",
		"nothing":           "",
		"blanks":            " ",
		"no UTF-8":          "\"\xff\"",
		"no JSON":           `x`,
		"two lines":         "\x00",
	} {
		for i, line := range lines[1:3] {
			head, _, ok := strings.Cut(line, `,"value":`)
			if !ok {
				t.Fatalf("got the record %s", line)
			}
			rest := `,"value":` + value
			if what == "two lines" {
				rest = `,"value_base64":"MgozCg=="`
			}
			lines[1+i] = sealed(head + rest)
		}
		if err := os.WriteFile(path, []byte(strings.Join(lines, "")), 0o600); err != nil {
			t.Fatal(err)
		}
		for want, args := range map[string][]string{
			"2\n3\n":           {"-o", "values", "--raw"},
			"2\n3\n\x00":       {"-o", "values"},
			`"value":2`:        {"-o", "jsonl"},
			"0  2            ": {"-o", "table"},
		} {
			copied := filepath.Join(dir, "copy.joblog")
			if err := os.WriteFile(copied, []byte(strings.Join(lines, "")), 0o600); err != nil {
				t.Fatal(err)
			}
			code, stdout, stderr := call(t, nil, append(args, "-p", "sqrt", "--joblog", copied, "--resume", "4", "9")...)
			if code != exitOK || !strings.Contains(stdout, strings.Trim(want, " \x00")) || !strings.Contains(stderr, "2 damaged lines are left out") || strings.Contains(stdout, "98765432109") {
				t.Errorf("%s, %q: got exit code %d, stdout %q, stderr %q, want the items run again", what, args, code, stdout, stderr)
			}
			checkPlain(t, what, stdout+stderr)
		}
		lines = strings.SplitAfter(string(text), "\n")
	}
}

func TestALineOfAJoblogIsBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run.joblog")
	if code, _, stderr := call(t, nil, "-p", "sqrt", "--joblog", path, "-o", "none", "4"); code != exitOK {
		t.Fatalf("got exit code %d: %s", code, stderr)
	}
	if err := os.Truncate(path, 3<<30); err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	code, _, stderr := call(t, nil, "-p", "sqrt", "--joblog", path, "--resume", "-o", "none", "4")
	runtime.ReadMemStats(&after)
	if code != exitUsage || !strings.Contains(stderr, fmt.Sprintf("joblog %q: line 3 is longer than 67109376 bytes", path)) || !strings.Contains(stderr, "parhost: hint: head -n 2 ") {
		t.Errorf("got exit code %d and %q, want %d and the line", code, stderr, exitUsage)
	}
	if took := after.TotalAlloc - before.TotalAlloc; took > 512<<20 {
		t.Errorf("it took %d MiB of memory", took>>20)
	}
}

// largeResult returns a result to which nothing else refers, so that memory measurements show what is kept of it.
func largeResult(i int) *result {
	value := bytes.Repeat([]byte("é"), 4<<20)
	value[0], value[len(value)-1] = '"', '"'
	return &result{Index: i, Value: value, Err: nil}
}

func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func TestATableKeepsWhatItShows(t *testing.T) {
	var out bytes.Buffer
	table := &tableOutput{out: &screen{stream: &out}}
	before := heap()
	for i := range 30 {
		if err := table.add(largeResult(i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := table.add(&result{Index: 30, Err: &host.ItemError{Kind: host.KindFailed, Message: rude, Dump: strings.Repeat("x", 64<<20)}}); err != nil {
		t.Fatal(err)
	}
	if held := heap() - before; held > 4<<20 {
		t.Errorf("the table holds %d MiB of 30 results", held>>20)
	}
	if err := table.end(); err != nil {
		t.Fatal(err)
	}
	if text := out.String(); !strings.Contains(text, "16 more") || !strings.Contains(text, "ééé…4194") || !utf8.ValidString(text) {
		t.Errorf("got %s, want the beginnings of the first and last results", text)
	}
	runtime.KeepAlive(table)
}

func TestComparingKeepsWhatItShows(t *testing.T) {
	before := heap()
	a, b := &rung{summary: summary{}, Label: "a"}, &rung{Label: "b"}
	for i := range 20 {
		a.outcomes = append(a.outcomes, outcomeOf(largeResult(i)))
		b.outcomes = append(b.outcomes, outcomeOf(largeResult(i)))
	}
	if held := heap() - before; held > 4<<20 {
		t.Errorf("40 results hold %d MiB", held>>20)
	}
	if err := sameResults(a, b); err != nil {
		t.Errorf("equal results: got %v", err)
	}
	other := largeResult(19)
	other.Value[4<<20] ^= 1 // a part that the shown text leaves out
	b.outcomes[19] = outcomeOf(other)
	if err := sameResults(a, b); err == nil || !strings.Contains(err.Error(), "item 19: a gives ") {
		t.Errorf("results that differ in the middle: got %v, want an error about item 19", err)
	}
}
