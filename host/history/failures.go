package history

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/parhost/parhost/host"
)

const (
	maxGroups = 64  // of failures that are kept apart
	keyBytes  = 160 // of a message that count for its group
)

// failures are the failed items in groups of the same kind.
type failures struct {
	groups map[groupKey]*FailureGroup
	others int // failures that belong to none of them
}

type groupKey struct {
	kind    host.Kind
	cause   host.Cause
	message string
}

// FailureGroup is a group of failed items. Their errors have the same kind and cause, and messages that differ only in numbers and in quoted text.
type FailureGroup struct {
	Kind    host.Kind  `json:"kind"`
	Cause   host.Cause `json:"cause,omitempty"`
	Count   int        `json:"count"`
	First   int        `json:"first"`          // place in the input of the first item of the group
	Message string     `json:"message"`        // the error of that item
	Item    string     `json:"item,omitempty"` // its text, as in host.Attempt
	Worker  int        `json:"worker"`         // number of the worker that ran that item; 0 if none did
	Last    int        `json:"last"`           // place in the input of the last item of the group
	Since   time.Time  `json:"since"`          // when the first failure happened
	Until   time.Time  `json:"until"`          // when the latest failure happened
}

func (f *failures) add(e *host.ItemFailed) {
	key := groupKey{e.Err.Kind, e.Err.Cause, fingerprint(e.Err.Message)}
	g := f.groups[key]
	if g == nil {
		if len(f.groups) == maxGroups {
			f.others++
			return
		}
		if f.groups == nil {
			f.groups = map[groupKey]*FailureGroup{}
		}
		g = &FailureGroup{Kind: e.Err.Kind, Cause: e.Err.Cause, First: e.Place, Last: e.Place, Since: e.At}
		f.groups[key] = g
	}
	g.Count++
	if e.Place <= g.First {
		g.First, g.Message, g.Item, g.Worker = e.Place, e.Err.Message, e.Item, e.Worker
	}
	g.Last, g.Until = max(g.Last, e.Place), e.At
}

// fingerprint returns what messages of the same kind have in common: their text without numbers and without what stands in quotation marks.
func fingerprint(message string) string {
	var b strings.Builder
	quote := byte(0)
	for i := 0; i < len(message) && b.Len() < keyBytes; i++ {
		c := message[i]
		switch {
		case quote != 0:
			switch c {
			case '\\':
				i++
			case quote:
				quote = 0
			}
		case c == '"' || c == '`':
			quote = c
			b.WriteByte(c)
		case '0' <= c && c <= '9':
			for i+1 < len(message) && isNumeral(message[i+1]) {
				i++
			}
			b.WriteByte('#')
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// isNumeral reports whether a byte goes on with a number that has begun: a decimal, hexadecimal or floating-point one.
func isNumeral(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F' || c == 'x' || c == '.' || c == '_'
}

// Failures returns the failed items in groups, the largest first. others is the number of failed items that belong to none of the groups, because there would
// be too many.
func (s *Store) Failures() (groups []FailureGroup, others int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for g := range maps.Values(s.failures.groups) {
		groups = append(groups, *g)
	}
	slices.SortFunc(groups, func(a, b FailureGroup) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.First, b.First))
	})
	return groups, s.failures.others
}
