// Package schema checks values against a JSON Schema that a stranger wrote, in a separate process.
//
// The process is this program, started again: in a program that links this package, init runs the check and exits if [Variable] is set.
// docs/RATIONALE.md, "Why is a schema a matter for another process?", gives the reasons.
package schema

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"github.com/parhost/parhost/internal/wire"
)

// Limits of a check. Each is far more than an honest schema and its examples need.
const (
	MaxTime   = 30 * time.Second
	MaxMemory = 1 << 30
	maxStack  = 128 << 20 // a frame of the library takes about 1.5 KiB, and JSON nests up to 10000 deep
)

// MismatchError says which value does not match the schema, and why.
type MismatchError struct {
	At  int // index of the value
	Why string
}

func (e *MismatchError) Error() string { return e.Why }

// Check checks that a JSON Schema refers to no other document, and that values match it. Each value is one JSON text.
//
// The error is a [*MismatchError] for the first value that does not match. Any other error is about the schema: it is invalid, it exceeds a limit,
// or the check took too much time or memory. If ctx ends first, the error is its cause.
func Check(ctx context.Context, schema string, values ...[]byte) error {
	return limits{MaxTime, MaxMemory, maxStack}.check(ctx, schema, values)
}

// limits are the limits of the process.
type limits struct {
	Time   time.Duration
	Memory uint64
	Stack  int
}

func (l limits) check(ctx context.Context, schema string, values [][]byte) error {
	switch depth := wire.Nesting(schema); {
	case len(schema) > wire.MaxSchemaBytes:
		return fmt.Errorf("it is %d bytes, the limit is %d", len(schema), wire.MaxSchemaBytes)
	case depth > wire.MaxSchemaDepth:
		return fmt.Errorf("it nests %d deep, the limit is %d", depth, wire.MaxSchemaDepth)
	}
	task, err := json.Marshal(l)
	if err != nil {
		return err
	}
	path, err := self()
	if err != nil {
		return fmt.Errorf("start a process for the check: %w", err)
	}
	// The process watches its time itself. It is killed only if it cannot, for example on a machine that swaps.
	watched, cancel := context.WithTimeout(ctx, l.Time+10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(watched, path)
	cmd.Args = []string{"parhost-schema"}
	// One CPU checks, the other watches the limits. Without the GORACE setting a program built with the race detector would wait for a second before it
	// exits.
	cmd.Env = []string{Variable + "=" + string(task), "GOMAXPROCS=2", "GOTRACEBACK=none", "GORACE=atexit_sleep_ms=0"}
	cmd.Stdin = question(schema, values)
	stdout, stderr := &head{most: 16 << 10}, &head{most: 4 << 10}
	cmd.Stdout, cmd.Stderr = stdout, stderr
	cmd.WaitDelay = time.Second
	if err = cmd.Run(); err != nil {
		switch {
		case ctx.Err() != nil: // exec reports only the signal
			return context.Cause(ctx)
		case watched.Err() != nil:
			return l.late()
		}
		return l.explain(cmd.ProcessState, err, stderr.String())
	}
	var a answer
	if err := json.Unmarshal(stdout.Bytes(), &a); err != nil {
		return fmt.Errorf("the process for the check answered %.60q: %w", stdout, err)
	}
	switch {
	case a.Schema != "":
		return errors.New(a.Schema)
	case a.Why != "":
		return &MismatchError{a.At, a.Why}
	}
	return nil
}

// self returns the path of this program. On Linux it is the running executable, even if another file has replaced it.
func self() (string, error) {
	if runtime.GOOS == "linux" {
		return "/proc/self/exe", nil
	}
	return os.Executable()
}

// question returns the input of the process: the schema and the values, each preceded by its size.
func question(schema string, values [][]byte) io.Reader {
	parts := make([]io.Reader, 0, 2+2*len(values))
	size := func(n int) io.Reader { return bytes.NewReader(binary.LittleEndian.AppendUint64(nil, uint64(n))) }
	parts = append(parts, size(len(schema)), strings.NewReader(schema))
	for _, v := range values {
		parts = append(parts, size(len(v)), bytes.NewReader(v))
	}
	return io.MultiReader(parts...)
}

func (l limits) late() error {
	return fmt.Errorf("to check it is not done after %v, which is the limit", l.Time)
}

// explain returns the reason why the process gave no answer.
func (l limits) explain(state *os.ProcessState, err error, stderr string) error {
	code := -1
	if state != nil {
		code = state.ExitCode()
	}
	switch {
	case code == tookTime:
		return l.late()
	case code == tookMemory:
		return fmt.Errorf("to check it takes more than %d MiB of memory, which is the limit", l.Memory>>20)
	case strings.Contains(stderr, "stack overflow"):
		return errors.New("it refers to itself without end")
	}
	line, _, _ := strings.Cut(strings.TrimSpace(stderr), "\n")
	return fmt.Errorf("the process for the check: %w: %.200q", err, line)
}

// head keeps the beginning of what is written to it, up to its limit most in bytes, and drops the rest.
type head struct {
	bytes.Buffer
	most int
}

func (h *head) Write(p []byte) (int, error) {
	h.Buffer.Write(p[:min(len(p), h.most-h.Len())])
	return len(p), nil
}
