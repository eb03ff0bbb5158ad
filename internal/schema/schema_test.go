package schema_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/parhost/parhost/internal/schema"
	"github.com/parhost/parhost/internal/wire"
)

// doubling returns a schema whose check looks at a value 2^n times.
func doubling(n int) string {
	var b strings.Builder
	b.WriteString(`{"$ref":"#/$defs/a0","$defs":{`)
	for i := range n {
		fmt.Fprintf(&b, `"a%d":{"allOf":[{"$ref":"#/$defs/a%d"},{"$ref":"#/$defs/a%d"}]},`, i, i+1, i+1)
	}
	fmt.Fprintf(&b, `"a%d":{}}}`, n)
	return b.String()
}

// list returns a JSON array of about that many bytes.
func list(bytes int) string { return "[" + strings.Repeat("1,", bytes/2) + "1]" }

func TestCheckSaysWhatIsWrongWithASchema(t *testing.T) {
	for name, c := range map[string]struct {
		schema string
		values []string
		at     int    // index of the value that does not match, or -1 if the schema is at fault
		want   string // part of the error; empty if there must be none
	}{
		"no values":               {schema: `{"type":"number"}`},
		"values that fit":         {schema: `{"type":"number"}`, values: []string{"1", "2.5"}},
		"a value that does not":   {schema: `{"type":"number"}`, values: []string{"1", `"a"`, "[]"}, at: 1, want: `want "number"`},
		"a value that is no JSON": {schema: `{}`, values: []string{"{"}, want: "unexpected end of JSON input"},
		"no JSON":                 {schema: `{`, at: -1, want: "unexpected end of JSON input"},
		"no schema":               {schema: `{"pattern":"("}`, at: -1, want: "missing closing )"},
		"a schema elsewhere":      {schema: `{"$ref":"http://127.0.0.1/x"}`, values: []string{"1"}, at: -1, want: "cannot resolve remote schemas"},
		"the largest":             {schema: `{"title":"` + strings.Repeat("x", wire.MaxSchemaBytes-12) + `"}`, values: []string{"1"}},
		"too large":               {schema: `{"title":"` + strings.Repeat("x", wire.MaxSchemaBytes-11) + `"}`, at: -1, want: "it is 262145 bytes, the limit is 262144"},
		"too deep":                {schema: strings.Repeat(`{"not":`, 65) + "{}" + strings.Repeat("}", 65), at: -1, want: "it nests 66 deep, the limit is 64"},
		"brackets in strings":     {schema: `{"title":"\"` + strings.Repeat("[", 100) + `"}`, values: []string{"1"}},

		"a list within a list": {
			schema: `{"type":"array","items":{"$ref":"#"}}`, values: []string{strings.Repeat("[", 9999) + strings.Repeat("]", 9999)},
		},
		"itself":              {schema: `{"$ref":"#"}`, values: []string{"1"}, at: -1, want: "it refers to itself without end"},
		"itself, by a detour": {schema: `{"allOf":[{"$ref":"#/$defs/a"}],"$defs":{"a":{"not":{"$ref":"#"}}}}`, values: []string{"1"}, at: -1, want: "it refers to itself without end"},
		"itself, when asked": {
			schema: `{"$id":"http://a/","$dynamicAnchor":"a","anyOf":[{"$dynamicRef":"#a"}]}`, values: []string{"1"}, at: -1, want: "does not support dynamic refs",
		},
		"itself, in its defaults": {schema: `{"$defs":{"a":{"default":1,"$ref":"#/$defs/a"}}}`, at: -1, want: "it refers to itself without end"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var values [][]byte
			for _, v := range c.values {
				values = append(values, []byte(v))
			}
			err := schema.Check(t.Context(), c.schema, values...)
			e, mismatch := errors.AsType[*schema.MismatchError](err)
			switch {
			case c.want == "" && err != nil:
				t.Errorf("got the error %v", err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("got the error %v, want %q", err, c.want)
			case mismatch != (c.want != "" && c.at >= 0) || mismatch && e.At != c.at:
				t.Errorf("got the error %#v, want it to be about value %d", err, c.at)
			}
		})
	}
}

// Whatever the schema and the values are, a check takes no more than its limits.
func TestACheckHasLimits(t *testing.T) {
	const longest = 5 * time.Minute // a busy machine takes long to reach the memory limit
	for name, c := range map[string]struct {
		limit         time.Duration
		memory        uint64
		schema, value string
		want          string
	}{
		"a schema that doubles":  {300 * time.Millisecond, schema.MaxMemory, doubling(60), "1", "not done after 300ms, which is the limit"},
		"a value that doubles":   {300 * time.Millisecond, schema.MaxMemory, `{"items":{"$ref":"#"},"contains":{"$ref":"#"},"minContains":0}`, strings.Repeat("[", 60) + strings.Repeat("]", 60), "not done after 300ms, which is the limit"},
		"a pattern":              {300 * time.Millisecond, schema.MaxMemory, `{"pattern":"(x{0,30}){0,30}y"}`, `"` + strings.Repeat("x", 10<<20) + `"`, "not done after 300ms, which is the limit"},
		"errors of great length": {longest, 64 << 20, `{"anyOf":[` + strings.Repeat(`{"type":"string"},`, 1000) + `false]}`, list(1 << 20), "takes more than 64 MiB of memory, which is the limit"},
		"paths of great length":  {longest, 128 << 20, `{"$defs":{"` + strings.Repeat("x", 100_000) + `":{"allOf":[` + strings.Repeat(`{},`, 40_000) + `{}]}}}`, "1", "takes more than 128 MiB of memory, which is the limit"},
		"a value of great size":  {longest, 128 << 20, `{}`, list(32 << 20), "takes more than 128 MiB of memory, which is the limit"},
	} {
		t.Run(name, func(t *testing.T) {
			begun := time.Now()
			err := schema.CheckWithin(t.Context(), c.limit, c.memory, c.schema, []byte(c.value))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got the error %v, want %q", err, c.want)
			}
			if took := time.Since(begun); took > c.limit+10*time.Second {
				t.Errorf("it took %v, want no more than %v", took, c.limit)
			}
		})
	}
}

func TestACheckEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := schema.Check(ctx, doubling(60), []byte("1")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want a deadline error", err)
	}
}

func BenchmarkCheck(b *testing.B) {
	for b.Loop() {
		if err := schema.Check(b.Context(), `{"type":"number"}`, []byte("1")); err != nil {
			b.Fatal(err)
		}
	}
}
