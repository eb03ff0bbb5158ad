package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/internal/wire"
)

// namedFailures are the failed items that a run names on stderr. The others are counted. With values each one is named, as nothing else shows it.
const namedFailures = 5

// reason is why an item failed, as the summary counts it.
type reason struct {
	kind  host.Kind
	cause host.Cause
}

// sayFailure names a failed item on stderr, if it is one of the first ones, and says what may help with all of its kind.
func (r *itemRun) sayFailure(e *host.ItemError) {
	if r.sum.reasons == nil {
		r.sum.reasons = map[reason]int{}
	}
	r.sum.reasons[reason{e.Kind, e.Cause}]++
	if r.sum.Failed <= namedFailures || r.output == "values" {
		r.say("parhost: %v", e)
	}
	if e.Kind == host.BadItem && !r.hinted && r.source.lines != nil && r.source.lines.firstIsText() {
		r.hinted = true
		from := ""
		if r.input != "-" {
			from = " " + quote(r.input)
		}
		r.say("parhost: hint: the first line is not JSON, and each line has to be one JSON value; if your items are plain lines of text: jq -R .%s | parhost … --input -", from)
	}
}

// sayOtherFailures says how many failed items were not named.
func (r *itemRun) sayOtherFailures() {
	if others := r.sum.Failed - namedFailures; others > 0 && r.output != "values" {
		hint := "; --output jsonl and --dossier show each"
		switch _, records := r.out.(*recordOutput); {
		case records && r.dossiers != nil:
			hint = ""
		case records:
			hint = "; --dossier shows each as a whole"
		case r.dossiers != nil:
			hint = "; --output jsonl shows each"
		}
		r.say("parhost: %d more %s failed%s", others, wire.Things(others, "item"), hint)
	}
}

// failures are the failed items by kind and cause, in brackets, the most frequent reason first. It is empty if all are errors that the workload
// returned.
func (s *summary) failures() string {
	if n := s.reasons[reason{kind: host.Failed}]; n == s.Failed { // which the word failed says alone
		return ""
	}
	order := slices.SortedFunc(maps.Keys(s.reasons), func(a, b reason) int {
		return cmp.Or(s.reasons[b]-s.reasons[a], strings.Compare(string(a.kind), string(b.kind)), strings.Compare(string(a.cause), string(b.cause)))
	})
	words := make([]string, len(order))
	for i, why := range order {
		words[i] = fmt.Sprintf("%d %s", s.reasons[why], why.kind)
		if why.cause != "" && string(why.cause) != string(why.kind) {
			words[i] += " by " + string(why.cause)
		}
	}
	return " (" + strings.Join(words, ", ") + ")"
}

// firstIsText reports whether the first item of an input is no JSON at all.
func (l *lineReader) firstIsText() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.firstBad
}

// lookAtFirst looks whether the first item of an input is JSON.
func (l *lineReader) lookAtFirst(line []byte) {
	bad := !json.Valid(line)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.firstBad = bad
}
