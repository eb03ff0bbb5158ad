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

// FailureGroup is items that failed for the same reason, as far as their messages tell.
type FailureGroup struct {
	Kind    host.Kind  `json:"kind"`
	Cause   host.Cause `json:"cause,omitempty"`
	Count   int        `json:"count"`
	First   int        `json:"first"`   // of these items, the one that comes first in the input: its place there
	Message string     `json:"message"` // its error
	Worker  int        `json:"worker"`  // that it ran on; 0 if none
	Last    int        `json:"last"`    // the one that comes last in the input
	Since   time.Time  `json:"since"`   // when one of them failed for the first time
	Until   time.Time  `json:"until"`   // and for the last time
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
		g.First, g.Message, g.Worker = e.Place, e.Err.Message, e.Worker
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
