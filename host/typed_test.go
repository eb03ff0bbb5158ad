package host_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/sdk"
)

// If a program uses a linked-in workload with types that are not the workload's, it does not compile.
func TestAWrongTypeDoesNotCompile(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the compiler")
	}
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ use, says string }{
		"the workload's own types": {`var roots []float64; roots, err = pool.Map(ctx, []float64{4}); _ = roots`, ""},
		"another type of items":    {`_, err = pool.Map(ctx, []string{"four"})`, `cannot use []string{…} (value of type []string) as []float64 value in argument to pool.Map`},
		"another type of an item":  {`_, err = pool.Do(ctx, "four")`, `cannot use "four" (untyped string constant) as float64 value in argument to pool.Do`},
		"another type of results":  {`var roots []string; roots, err = pool.Map(ctx, []float64{4}); _ = roots`, `cannot use pool.Map(ctx, []float64{…}) (value of type []float64) as []string value in assignment`},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			source, overlay := filepath.Join(dir, "main.go"), filepath.Join(dir, "overlay.json")
			program := `package main

import (
	"context"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/plugins/sqrt"
)

func main() {
	ctx := context.Background()
	pool, err := host.OpenWorkload(ctx, sqrt.Workload, host.Config{})
	` + c.use + `
	_, _ = pool, err
}
`
			mapping, _ := json.Marshal(map[string]map[string]string{"Replace": {filepath.Join(root, "internal", "wrongtype", "main.go"): source}})
			if err := errors.Join(os.WriteFile(source, []byte(program), 0o600), os.WriteFile(overlay, mapping, 0o600)); err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), "go", "build", "-overlay", overlay, "-o", filepath.Join(dir, "program"), "github.com/parhost/parhost/internal/wrongtype")
			out, err := cmd.CombinedOutput()
			switch {
			case c.says == "" && err != nil:
				t.Errorf("got %v, want a program:\n%s", err, out)
			case c.says != "" && (err == nil || !strings.Contains(string(out), c.says)):
				t.Errorf("got %v, want an error that says %q:\n%s", err, c.says, out)
			}
		})
	}
}

func TestBindRefusesOtherKinds(t *testing.T) {
	bind := map[string]func(*host.Pool) error{
		"its own":         func(p *host.Pool) error { _, err := host.Bind[float64, float64](p); return err },
		"of the same":     func(p *host.Pool) error { _, err := host.Bind[celsius, celsius](p); return err },
		"other items":     func(p *host.Pool) error { _, err := host.Bind[int64, float64](p); return err },
		"other results":   func(p *host.Pool) error { _, err := host.Bind[float64, string](p); return err },
		"texts, unasked":  func(p *host.Pool) error { _, err := host.Bind[json.RawMessage, json.RawMessage](p); return err },
		"float32, nearly": func(p *host.Pool) error { _, err := host.Bind[float32, float64](p); return err },
	}
	want := map[string]string{
		"other items":     `each item of workload "half" is of kind float64, and Go's int64 is of kind int64; use a type of kind float64, or BindJSON to send JSON`,
		"other results":   `each result of workload "half" is of kind float64, and Go's string is of kind string; use a type of kind float64, or BindJSON to send JSON`,
		"texts, unasked":  `each item of workload "half" is of kind float64, and Go's json.RawMessage is of kind json; use a type of kind float64, or BindJSON to send JSON`,
		"float32, nearly": `each item of workload "half" is of kind float64, and Go's float32 is of kind float32; use a type of kind float64, or BindJSON to send JSON`,
	}
	pools(t, host.Config{Workload: half}, func(t *testing.T, p *host.Pool) {
		for name, bind := range bind {
			err := bind(p)
			if _, ok := errors.AsType[*host.KindError](err); err != nil && (!ok || err.Error() != want[name]) || err == nil && want[name] != "" {
				t.Errorf("%s: got %v, want %q", name, err, want[name])
			}
		}
	})
}

type celsius float64

func TestBindJSONSendsOtherKindsAsJSON(t *testing.T) {
	pools(t, host.Config{Workload: half}, func(t *testing.T, p *host.Pool) {
		got, err := host.BindJSON[int, json.RawMessage](p).Map(t.Context(), []int{1, 4})
		if err != nil || fmt.Sprintf("%s", got) != "[0.5 2]" {
			t.Errorf("got %s, %v, want [0.5 2]", got, err)
		}
	})
}

func TestOpenWorkloadTakesItsWorkloadOnce(t *testing.T) {
	for name, cfg := range map[string]host.Config{"a workload": {Workload: half}, "a plugin": {Plugin: "sqrt"}} {
		_, err := host.OpenWorkload(t.Context(), half, cfg)
		if e, ok := errors.AsType[*host.ConfigError](err); !ok || e.Field != "Workload" {
			t.Errorf("%s in the config: got %v, want a ConfigError of Workload", name, err)
		}
	}
	if _, err := host.OpenWorkload[int, int](t.Context(), nil, host.Config{}); err == nil {
		t.Error("no workload: got no error")
	}
	var none *sdk.Workload[int, int]
	if _, err := host.Open(t.Context(), host.Config{Workload: none}); !errors.As(err, new(*host.ConfigError)) {
		t.Errorf("a workload that is nil: got %v, want a ConfigError", err)
	}
}

func TestDoReturnsAttemptsAndTimes(t *testing.T) {
	pools(t, host.Config{Workload: half}, func(t *testing.T, p *host.Pool) {
		r, err := typed[float64, float64](p).Do(t.Context(), 8)
		if err != nil || r.Value != 4 || r.Attempts != 1 || r.Worker == 0 || r.PID == 0 || r.Index != 0 {
			t.Errorf("got %+v, %v, want 4 of a worker in one attempt", r, err)
		}
		h, err := typed[float64, float64](p).Start(t.Context(), 8).Wait(t.Context())
		if err != nil || h.Value != 4 || h.Attempts != 1 || h.Worker == 0 {
			t.Errorf("Start: got %+v, %v, want 4 of a worker in one attempt", h, err)
		}
	})
}

func TestDoneAndErrSayWhyAPoolTakesNoMoreWork(t *testing.T) {
	pools(t, host.Config{Workload: half}, func(t *testing.T, p *host.Pool) {
		select {
		case <-p.Done():
			t.Error("an open pool: got done")
		default:
		}
		if err := p.Err(); err != nil {
			t.Errorf("an open pool: got %v, want nil", err)
		}
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
		<-p.Done()
		if err := p.Err(); !errors.Is(err, host.ErrClosed) {
			t.Errorf("a closed pool: got %v, want ErrClosed", err)
		}
	})
}
