package main

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/parhost/parhost/sdk"
)

// several is the name under which this program is a plugin with two workloads.
const several = "parhost-plugin-several"

// talker logs in Setup, Run and Teardown.
type talker struct{}

func (talker) Setup(ctx context.Context) error {
	if os.Getenv("SEVERAL") == "needed" {
		return fmt.Errorf("SEVERAL is not set right")
	}
	sdk.Logger(ctx).Warn("setting up", "big", 9007199254740993)
	return nil
}

// linger is an item that runs for a second, so that even a busy host reads its output while the item still runs.
const linger = "7"

func (talker) Teardown(ctx context.Context) error {
	sdk.Logger(ctx).Warn("tearing down")
	return nil
}

func (talker) Run(ctx context.Context, item any) (any, error) {
	fmt.Println("printed")
	slog.Warn("a slog line", "item text", fmt.Sprint(item), slog.Group("g", "n", 7))
	slog.ErrorContext(ctx, "one with a context")
	slog.With("a", 1).WithGroup("w").Warn("nested", "b", true)
	log.Print("a log line")
	if fmt.Sprint(item) == linger {
		time.Sleep(time.Second) // the host attributes a line to an item only if it reads the line while the item runs, or soon after
	}
	return item, nil
}

func beSeveral() {
	sdk.Serve(
		sdk.Struct("up", func() sdk.Runner[any, any] { return talker{} }),
		sdk.Func("down", func(context.Context, any) (any, error) { return "down", nil }),
	)
}

// severalPlugin links this program under the name that makes it that plugin.
func severalPlugin(t *testing.T) string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), several)
	if err := os.Symlink(exe, path); err != nil {
		t.Skip(err)
	}
	return path
}

func TestAWorkloadOfSeveralIsNamedBehindAColon(t *testing.T) {
	plugin := severalPlugin(t)
	for name, want := range map[string]string{plugin + ":up": "1.0\n", plugin + ":down": "\"down\"\n", "several:down": "\"down\"\n"} {
		args := []string{"--plugin", name, "--output", "values", "1.0"}
		if !isPath(name) {
			args = append(args, "--plugin-dir", filepath.Dir(plugin))
		}
		if code, out, errs := call(t, nil, args...); code != 0 || out != want {
			t.Errorf("%s: got %q, exit code %d, want %q; stderr: %s", name, out, code, want, errs)
		}
	}
	for _, name := range []string{plugin, plugin + ":sideways"} {
		if code, _, errs := call(t, nil, "--plugin", name, "1"); code != exitNoWorker || !strings.Contains(errs, "name one of up, down") {
			t.Errorf("%s: got exit code %d, want %d and the names of both; stderr: %s", name, code, exitNoWorker, errs)
		}
	}
	if code, out, errs := call(t, nil, "plugins", "describe", plugin+":down"); code != 0 || !strings.Contains(out, "down") {
		t.Errorf("describe: got %q, exit code %d; stderr: %s", out, code, errs)
	}
}

// A journal of one workload must not be used for the other, and replay must use the workload of the failed item.
func TestAJournalKnowsTheWorkload(t *testing.T) {
	plugin, journal := severalPlugin(t), filepath.Join(t.TempDir(), "run.joblog")
	if code, _, errs := call(t, nil, "--plugin", plugin+":down", "--joblog", journal, "1"); code != 0 {
		t.Fatalf("got exit code %d; stderr: %s", code, errs)
	}
	if code, out, errs := call(t, nil, "--plugin", plugin+":up", "--joblog", journal, "--resume", "1"); code == 0 {
		t.Errorf("--resume with the other workload: got %q, want a refusal; stderr: %s", out, errs)
	}
}

func TestLinesKeepLevelFieldsAndItem(t *testing.T) {
	code, _, errs := call(t, nil, "--plugin", severalPlugin(t)+":up", "--procs", "1", "--log-level", "info", linger)
	if code != 0 {
		t.Fatalf("got exit code %d; stderr: %s", code, errs)
	}
	for _, want := range []string{
		`\[WARN\] .*: setting up: worker=1 big=9007199254740993\n`,
		`\[WARN\] .*: tearing down: worker=1\n`,
		`\[INFO\] .*: printed: worker=1 item=0\n`,
		`\[WARN\] .*: a slog line: worker=1 .*g.n=7`,
		`\[WARN\] .*: a slog line: worker=1 .*item=0`,
		`\[ERROR\] .*: one with a context: worker=1 .*item=0`,
		`\[WARN\] .*: nested: worker=1 .*w.b=true`,
		`\[WARN\] .*: nested: worker=1 .*a=1`,
		`\[INFO\] .*: a log line: worker=1 item=0\n`,
	} {
		if !regexp.MustCompile(want).MatchString(errs) {
			t.Errorf("no line %s in:\n%s", want, errs)
		}
	}
}

func TestVerifyTakesEnv(t *testing.T) {
	plugin := severalPlugin(t)
	if code, out, errs := call(t, nil, "plugins", "verify", plugin+":up", "1", "--env", "SEVERAL=needed"); code != exitNoWorker || !strings.Contains(errs+out, "SEVERAL is not set right") {
		t.Errorf("with the variable: got exit code %d, want the set-up's error; %s%s", code, out, errs)
	}
}

func TestTheMarkOfUTF8IsNoItem(t *testing.T) {
	file := filepath.Join(t.TempDir(), "items")
	for text, want := range map[string]string{
		"\xef\xbb\xbf4\n9\n": "2\n3\n2\n3\n", "4": "2\n2\n", "\xef\xbb\xbf": "",
		"\xff\xfe4\x00\n\x00": "UTF-16", "\xfe\xff\x004": "UTF-16",
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		code, out, errs := call(t, nil, "--plugin", "sqrt", "--input", file, "--repeat", "2", "--output", "values")
		if want == "UTF-16" {
			if code != exitUsage || !strings.Contains(errs, want) {
				t.Errorf("%q: got exit code %d, want %d and the encoding's name; stderr: %s", text, code, exitUsage, errs)
			}
		} else if out != want {
			t.Errorf("%q: got %q, want %q; stderr: %s", text, out, want, errs)
		}
	}
}

func TestTheMarkOfUTF8MayComeInPieces(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	l := &lineReader{r: r, name: "stdin", most: maxLine, rounds: 1}
	go func() {
		defer w.Close()
		for _, piece := range []string{"\xef", "\xbb", "\xbf5", "\n"} {
			_, _ = w.WriteString(piece)
		}
	}()
	if item, ok := l.next(); !ok || string(item) != "5" {
		t.Errorf("got %q, %v, want 5", item, ok)
	}
}
