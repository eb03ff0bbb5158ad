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

// namedFailures is how many failed items a run names on stderr. It only counts the others. With --output values it names every failed item, because
// nothing else shows them.
const namedFailures = 5

// reason is a reason for failed items, as the summary counts them.
type reason struct {
	kind  host.Kind
	cause host.Cause
}

// sayFailure names a failed item on stderr if it is among the first ones. For items that are not JSON, it prints a hint once.
func (r *itemRun) sayFailure(e *host.ItemError) {
	if r.sum.reasons == nil {
		r.sum.reasons = map[reason]int{}
	}
	r.sum.reasons[reason{e.Kind, e.Cause}]++
	if r.sum.Failed <= namedFailures || r.output == "values" {
		r.say("parhost: %v", e)
	}
	if e.Kind == host.KindBadItem && !r.hinted && r.source.lines != nil && r.source.lines.firstIsText() {
		r.hinted = true
		from := ""
		if r.input != "-" {
			from = " " + quote(r.input)
		}
		r.say("parhost: hint: the first line is not JSON, and each line has to be one JSON value; if your items are plain lines of text: jq -R .%s | parhost … --input -", from)
	}
}

// sayOtherFailures says how many failed items were not named, and which flags show them.
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

// failures returns the number of failed items by kind and cause, in brackets, the most frequent reason first. It returns "" if the workload returned
// an error for each of them.
func (s *summary) failures() string {
	if n := s.reasons[reason{kind: host.KindFailed}]; n == s.Failed { // the word "failed" in the summary says it all
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

// firstIsText reports whether the first item of the input is not JSON.
func (l *lineReader) firstIsText() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.firstBad
}

// lookAtFirst stores whether the first item of the input is JSON.
func (l *lineReader) lookAtFirst(line []byte) {
	bad := !json.Valid(line)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.firstBad = bad
}
