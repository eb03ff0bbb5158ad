package wire

import (
	"errors"
	"fmt"
	"strings"

	"github.com/parhost/parhost/internal/wire/workerpb"
)

// MaxManifestBytes bounds the answer to Describe.
const MaxManifestBytes = 1 << 20

// What a manifest may hold. Hosts show it to people, quote it in errors, and keep it for each worker.
const (
	longestName        = 128
	longestKind        = 256
	longestWord        = 256 // a version, an SDK, a mode
	longestDescription = 4 << 10
	mostExamples       = 1000
	longestExample     = 256 << 10
	mostThreads        = 4096 // a host has something for each, and a batch or two
)

// The bounds of a schema.
const (
	MaxSchemaBytes = 256 << 10
	MaxSchemaDepth = 64 // who reads one calls itself for each level
)

// CheckManifest checks what a plugin says of itself before anything is made of it.
func CheckManifest(m *workerpb.Manifest) error {
	if m.GetName() == "" {
		return errors.New("the name is empty")
	}
	for _, text := range []struct {
		what string
		size int
		most int
	}{
		{"name", len(m.GetName()), longestName},
		{"version", len(m.GetVersion()), longestWord},
		{"description", len(m.GetDescription()), longestDescription},
		{"item kind", len(m.GetItemKind()), longestKind},
		{"result kind", len(m.GetResultKind()), longestKind},
		{"item schema", len(m.GetItemSchema()), MaxSchemaBytes},
		{"result schema", len(m.GetResultSchema()), MaxSchemaBytes},
		{"preferred mode", len(m.GetPrefer()), longestWord},
		{"SDK", len(m.GetSdk()), longestWord},
	} {
		if text.size > text.most {
			return fmt.Errorf("the %s has %d bytes, the limit is %d", text.what, text.size, text.most)
		}
	}
	for _, schema := range []struct{ of, text string }{{"item", m.GetItemSchema()}, {"result", m.GetResultSchema()}} {
		if n := Nesting(schema.text); n > MaxSchemaDepth {
			return fmt.Errorf("the %s schema is %d levels deep, the limit is %d", schema.of, n, MaxSchemaDepth)
		}
	}
	if n := len(m.GetExamples()); n > mostExamples {
		return fmt.Errorf("%d examples, the limit is %d", n, mostExamples)
	}
	for i, example := range m.GetExamples() {
		if len(example) > longestExample {
			return fmt.Errorf("example %d has %d bytes, the limit is %d", i, len(example), longestExample)
		}
	}
	switch {
	case !ValidName(m.GetName()):
		return fmt.Errorf("name %.100q: want letters, digits, \"-\", \"_\" and \".\", a letter or digit first", m.GetName())
	case !KnownKind(m.GetItemKind()):
		return fmt.Errorf("item kind %.100q is not one of protocol version %d", m.GetItemKind(), Version)
	case !KnownKind(m.GetResultKind()):
		return fmt.Errorf("result kind %.100q is not one of protocol version %d", m.GetResultKind(), Version)
	case m.GetThreads() > mostThreads:
		return fmt.Errorf("%d threads, the limit is %d", m.GetThreads(), mostThreads)
	}
	return CheckNeeds(m.GetNeeds())
}

// ValidName reports whether a workload may be called name, which is part of a file's name and of command lines: letters, digits,
// "-", "_" and ".", a letter or digit first.
func ValidName(name string) bool {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	return strings.Trim(name, letters+"._-") == "" && name != "" && strings.IndexByte(letters, name[0]) >= 0
}

// Nesting returns how many levels of objects and arrays a JSON text has.
func Nesting[T ~string | ~[]byte](text T) (most int) {
	level, quoted := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quoted && c == '\\':
			i++ // what follows is no end
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{', c == '[':
			level++
			most = max(most, level)
		case c == '}', c == ']':
			level--
		}
	}
	return most
}
