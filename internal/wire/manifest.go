package wire

import (
	"errors"
	"fmt"
	"strings"

	"github.com/parhost/parhost/internal/wire/workerpb"
)

// MaxManifestBytes limits the answer to Describe.
const MaxManifestBytes = 1 << 20

// Limits for a manifest. Hosts show it to people, quote it in errors, and keep it for each worker.
const (
	longestName        = 128
	longestKind        = 256
	longestWord        = 256 // of a version, an SDK, or a mode
	longestDescription = 4 << 10
	maxExamples        = 1000
	longestExample     = 256 << 10
	maxThreads         = 4096 // a host keeps state and a batch or two for each thread
)

// Limits for a schema.
const (
	MaxSchemaBytes = 256 << 10
	MaxSchemaDepth = 64 // readers of schemas are recursive
)

// CheckManifest checks a plugin's manifest against the limits, before the host uses any of it.
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
	if n := len(m.GetExamples()); n > maxExamples {
		return fmt.Errorf("%d examples, the limit is %d", n, maxExamples)
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
	case m.GetThreads() > maxThreads:
		return fmt.Errorf("%d threads, the limit is %d", m.GetThreads(), maxThreads)
	}
	return CheckNeeds(m.GetNeeds())
}

// ValidName reports whether a workload may be called name. A name is part of file names and command lines: it has letters, digits, "-", "_" and
// ".", and begins with a letter or digit.
func ValidName(name string) bool {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	return strings.Trim(name, letters+"._-") == "" && name != "" && strings.IndexByte(letters, name[0]) >= 0
}

// Nesting returns the depth of objects and arrays in a JSON text.
func Nesting[T ~string | ~[]byte](text T) (most int) {
	level, quoted := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quoted && c == '\\':
			i++ // the escaped character does not end the string
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
