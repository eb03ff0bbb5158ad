// Package schema holds values against a JSON Schema that a stranger wrote, in a process of its own.
//
// The process is this program, started once more; a program that links this package is that process before its main if [Variable] is set.
// docs/RATIONALE.md, "Why is a schema a matter for another process?", says why.
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

// What a check may take. Each is far more than an honest schema and its examples need.
const (
	MaxTime   = 30 * time.Second
	MaxMemory = 1 << 30
	maxStack  = 128 << 20 // a frame of the library is about 1.5 KiB, and JSON nests up to 10000 deep
)

// MismatchError says which value is not what the schema says.
type MismatchError struct {
	At  int // its place among the values
	Why string
}

func (e *MismatchError) Error() string { return e.Why }

// Check says whether a JSON Schema can be used by itself, and holds values against it, each of them one JSON text.
//
// The error is a [*MismatchError] for the first value that is not what the schema says. Any other is about the schema: it is none, it is
// beyond its bounds, or the check took more than it may. If ctx ends first, it is the cause of that.
func Check(ctx context.Context, schema string, values ...[]byte) error {
	return limits{MaxTime, MaxMemory, maxStack}.check(ctx, schema, values)
}

// limits are those of the process.
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
	// It watches its time itself. One that does not come to that, on a machine that swaps, is killed.
	watched, cancel := context.WithTimeout(ctx, l.Time+10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(watched, path)
	cmd.Args = []string{"parhost-schema"}
	// One CPU checks, the other watches. A program that is built with the race detector would wait for a second before it exits.
	cmd.Env = []string{Variable + "=" + string(task), "GOMAXPROCS=2", "GOTRACEBACK=none", "GORACE=atexit_sleep_ms=0"}
	cmd.Stdin = question(schema, values)
	stdout, stderr := &head{most: 16 << 10}, &head{most: 4 << 10}
	cmd.Stdout, cmd.Stderr = stdout, stderr
	cmd.WaitDelay = time.Second
	if err = cmd.Run(); err != nil {
		switch {
		case ctx.Err() != nil: // exec tells of the signal alone
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

// self is the path of this program: on Linux of what runs, even if another file has taken its place.
func self() (string, error) {
	if runtime.GOOS == "linux" {
		return "/proc/self/exe", nil
	}
	return os.Executable()
}

// question is what the process reads: the schema and the values, in front of each its size.
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

// explain says why the process has no answer.
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

// head keeps the beginning of what is written to it.
type head struct {
	bytes.Buffer
	most int
}

func (h *head) Write(p []byte) (int, error) {
	h.Buffer.Write(p[:min(len(p), h.most-h.Len())])
	return len(p), nil
}
