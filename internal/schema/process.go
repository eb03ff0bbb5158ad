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

	"github.com/parhost/parhost/internal/wire"
)

// Variable holds the limits of a process that is to make a check.
const Variable = "PARHOST_SCHEMA_CHECK"

// The exit codes of a process that has ended itself.
const (
	tookTime   = 3
	tookMemory = 4
)

// answer is what the process writes.
type answer struct {
	Schema string // what is wrong with the schema
	At     int
	Why    string // the value At is not what the schema says; empty if all are
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
	debug.SetMemoryLimit(int64(l.Memory / 4 * 3)) // from here on garbage is looked for in earnest
	go func() { os.Exit(l.exceeded()) }()
	if err := json.NewEncoder(os.Stdout).Encode(answerTo(bufio.NewReader(os.Stdin))); err != nil {
		os.Exit(1)
	}
	os.Exit(0)
}

// exceeded returns the exit code for the first limit that the process exceeds.
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

// answerTo resolves a schema, and holds the values behind it against it up to the first that does not fit.
func answerTo(question io.Reader) answer {
	text, err := next(question)
	if err != nil {
		return answer{Schema: bound(err)}
	}
	var s jsonschema.Schema
	if err := json.Unmarshal(text, &s); err != nil {
		return answer{Schema: bound(err)}
	}
	r, err := s.Resolve(&jsonschema.ResolveOptions{ValidateDefaults: true})
	if err != nil {
		return answer{Schema: bound(err)}
	}
	for i := 0; ; i++ {
		text, err := next(question)
		switch {
		case errors.Is(err, io.EOF):
			return answer{}
		case err != nil:
			return answer{Schema: bound(err)}
		}
		var v any
		if err = json.Unmarshal(text, &v); err == nil {
			err = r.Validate(v)
		}
		if err != nil {
			return answer{At: i, Why: bound(err)}
		}
	}
}

func bound(err error) string { return wire.Bound(err.Error(), 2<<10) }

// next reads a text. The error is io.EOF behind the last.
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
