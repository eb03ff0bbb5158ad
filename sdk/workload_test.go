package sdk_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/jsonschema-go/jsonschema"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/parhost/parhost/internal/inprocess"
	"github.com/parhost/parhost/internal/wire/workerpb"
	"github.com/parhost/parhost/sdk"
)

var upper = sdk.Func("upper", func(_ context.Context, s string) (string, error) { return strings.ToUpper(s), nil })

// child returns a command that starts this program as a plugin.
func child(t *testing.T, env ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe)
	cmd.Env = append(append(os.Environ(), "PARHOST_TEST_SERVE=1"), env...)
	return cmd
}

func TestAPluginStartedByHandSaysWhatItIs(t *testing.T) {
	cmd := child(t)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 2 {
		t.Errorf("a plugin started by hand: got %v, want exit code 2", err)
	}
	if !strings.Contains(stderr.String(), "is a parhost plugin. Run it with: parhost --plugin") || stdout.Len() > 0 {
		t.Errorf("it said %q and on stdout %q, want what it is, on stderr alone", stderr.String(), stdout.String())
	}
}

func TestServeChildReturnsInAProgramThatNoHostStarted(*testing.T) {
	sdk.ServeChild(upper) // it has also returned in TestMain, or no test would run
}

func TestManifest(t *testing.T) {
	want := sdk.Manifest{
		Name: "upper", Version: "1.2", Description: "makes letters large", Examples: []any{"abc", "<&>"}, Idempotent: true,
		NotConcurrent: true, Prefer: "goroutine", Threads: 3, ItemTime: time.Millisecond,
		Needs: sdk.Needs{Network: true, Processes: true, Read: []string{"/etc/ssl"}, Write: []string{"/srv/out"}, MemoryBytes: 1 << 30},
	}
	given := want
	given.Name = "" // With keeps the workload's own name
	w := upper.With(given)
	if d := cmp.Diff(want, w.Manifest()); d != "" {
		t.Errorf("the manifest (-want +got):\n%s", d)
	}
	if upper.Manifest().Version != "" {
		t.Error("With changed the workload that it was called on, want a copy")
	}
	got, err := inprocess.Describe(w, false)
	if err != nil {
		t.Fatal(err)
	}
	got.Sdk = ""
	if d := cmp.Diff(&workerpb.Manifest{
		Name: "upper", Version: "1.2", Description: "makes letters large", Idempotent: true, NotConcurrent: true, Prefer: "goroutine",
		Threads: 3, ItemTimeNs: 1e6, ItemKind: "string", ResultKind: "string", Examples: got.GetExamples(),
		Needs: &workerpb.Needs{Network: true, Processes: true, Read: []string{"/etc/ssl"}, Write: []string{"/srv/out"}, MemoryBytes: 1 << 30},
	}, got, protocmp.Transform()); d != "" {
		t.Errorf("as it travels (-want +got):\n%s", d)
	}
	for i, want := range []string{"abc", "<&>"} {
		var example string
		if err := json.Unmarshal(got.GetExamples()[i], &example); err != nil || example != want {
			t.Errorf("example %d: got %q, %v, want %q", i, example, err, want)
		}
	}
}

func TestAnExampleWithoutJSONIsAnError(t *testing.T) {
	if _, err := inprocess.Describe(upper.With(sdk.Manifest{Examples: []any{"fine", make(chan int)}}), false); err == nil || !strings.Contains(err.Error(), `example 1 of "upper"`) {
		t.Errorf("Describe with an example that is a channel: got %v, want an error that names it", err)
	}
}

func TestASchemaThatIsNoJSONIsAnError(t *testing.T) {
	if _, err := inprocess.Describe(upper.With(sdk.Manifest{ItemSchema: json.RawMessage("{")}), true); err == nil || !strings.Contains(err.Error(), "item schema") {
		t.Errorf("Describe with a torn schema: got %v, want an error that names it", err)
	}
}

type record struct {
	Name  string         `json:"name"`
	Sizes []float64      `json:"sizes,omitempty"`
	More  map[string]any `json:"more,omitempty"`
	At    time.Time      `json:"at"`
}

func identity[T any](name string, examples ...any) *sdk.Workload[T, T] {
	return sdk.Func(name, func(_ context.Context, v T) (T, error) { return v, nil }).With(sdk.Manifest{Examples: examples})
}

func TestSchemasAllowTheExamples(t *testing.T) {
	for name, w := range map[string]sdk.AnyWorkload{
		"float64":  identity[float64]("f", 1.5, -2),
		"int":      identity[int]("i", 1),
		"string":   identity[string]("s", ""),
		"bytes":    identity[[]byte]("b", []byte("x")),
		"floats":   identity[[]float64]("fs", []float64{1, 2}),
		"struct":   identity[record]("r", record{Name: "a", Sizes: []float64{1}, More: map[string]any{"k": 1}}),
		"pointer":  identity[*record]("p", &record{Name: "a"}),
		"raw":      identity[json.RawMessage]("raw", json.RawMessage(`{"a":1}`), json.RawMessage("null")),
		"any":      identity[any]("any", nil, 1, "s", []any{true}),
		"proto":    identity[*structpb.Value]("proto", structpb.NewStringValue("s")),
		"own":      upper.With(sdk.Manifest{ItemSchema: json.RawMessage(`{"type":"string","maxLength":3}`), Examples: []any{"abc"}}),
		"duration": identity[time.Duration]("d", time.Second),
	} {
		t.Run(name, func(t *testing.T) {
			m, err := inprocess.Describe(w, true)
			if err != nil {
				t.Fatal(err)
			}
			for which, text := range map[string]string{"item": m.GetItemSchema(), "result": m.GetResultSchema()} {
				var s jsonschema.Schema
				if err := json.Unmarshal([]byte(text), &s); err != nil {
					t.Fatalf("%s schema %s: %v", which, text, err)
				}
				r, err := s.Resolve(nil)
				if err != nil {
					t.Fatalf("%s schema %s: %v", which, text, err)
				}
				for _, example := range m.GetExamples() {
					var v any
					if err := json.Unmarshal(example, &v); err != nil {
						t.Fatal(err)
					}
					if err := r.Validate(v); err != nil {
						t.Errorf("%s schema %s: refuses the example %s: %v", which, text, example, err)
					}
				}
			}
		})
	}
}

func TestBadItemKeepsTheError(t *testing.T) {
	if err := sdk.BadItem(nil); err != nil {
		t.Errorf("BadItem of nil: got %v, want nil", err)
	}
	if err := sdk.BadItem(os.ErrNotExist); !errors.Is(err, os.ErrNotExist) || err.Error() != os.ErrNotExist.Error() {
		t.Errorf("BadItem: got %v, want the same words and an error that matches", err)
	}
}

func TestLoggerAndProgressOutsideOfRunDoNothing(t *testing.T) {
	sdk.Progress(t.Context(), 0.5)
	sdk.Logger(t.Context()).Error("unheard")
	if sdk.Logger(t.Context()).IsError() {
		t.Error("Logger outside of Run: it would log, want it to discard")
	}
}
