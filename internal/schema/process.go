package schema

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"

	"github.com/google/jsonschema-go/jsonschema"

	"github.com/parhost/parhost/internal/bound"
)

// Variable is the environment variable that makes a process check a schema. It holds the limits of the process.
const Variable = "PARHOST_SCHEMA_CHECK"

// Exit codes of a process that exceeded a limit.
const (
	tookTime   = 3
	tookMemory = 4
)

// answer is the output of the process.
type answer struct {
	Schema string // error of the schema; empty if it is valid
	At     int
	Why    string // why the value At does not match the schema; empty if all values match
}

func init() {
	text, ok := os.LookupEnv(Variable)
	if !ok {
		return
	}
	var l limits
	if err := json.Unmarshal([]byte(text), &l); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	debug.SetMaxStack(l.Stack)
	debug.SetMemoryLimit(int64(l.Memory / 4 * 3)) // above this the garbage collector works harder
	go func() { os.Exit(l.exceeded()) }()
	if err := json.NewEncoder(os.Stdout).Encode(answerTo(bufio.NewReader(os.Stdin))); err != nil {
		os.Exit(1)
	}
	os.Exit(0)
}

// exceeded waits until the process exceeds a limit, and returns the exit code for it.
func (l limits) exceeded() int {
	late, tick := time.After(l.Time), time.Tick(5*time.Millisecond)
	taken := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	for {
		select {
		case <-late:
			return tookTime
		case <-tick:
		}
		if metrics.Read(taken); taken[0].Value.Uint64()-taken[1].Value.Uint64() > l.Memory {
			return tookMemory
		}
	}
}

// answerTo reads a schema and values, and checks the values up to the first that does not match.
func answerTo(question io.Reader) answer {
	text, err := next(question)
	if err != nil {
		return answer{Schema: brief(err)}
	}
	var s jsonschema.Schema
	if err := json.Unmarshal(text, &s); err != nil {
		return answer{Schema: brief(err)}
	}
	r, err := s.Resolve(&jsonschema.ResolveOptions{ValidateDefaults: true})
	if err != nil {
		return answer{Schema: brief(err)}
	}
	for i := 0; ; i++ {
		text, err := next(question)
		switch {
		case errors.Is(err, io.EOF):
			return answer{}
		case err != nil:
			return answer{Schema: brief(err)}
		}
		var v any
		if err = json.Unmarshal(text, &v); err == nil {
			err = r.Validate(v)
		}
		if err != nil {
			return answer{At: i, Why: brief(err)}
		}
	}
}

func brief(err error) string { return bound.Text(err.Error(), 2<<10) }

// next reads one text. The error is io.EOF after the last one.
func next(question io.Reader) ([]byte, error) {
	var size [8]byte
	if _, err := io.ReadFull(question, size[:]); err != nil {
		return nil, err
	}
	text := make([]byte, binary.LittleEndian.Uint64(size[:]))
	if _, err := io.ReadFull(question, text); err != nil {
		return nil, fmt.Errorf("the text breaks off: %w", err)
	}
	return text, nil
}
