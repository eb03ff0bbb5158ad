//go:build unix

package host_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/parhost/parhost/host"
)

// looseResults are texts that are JSON by its grammar, and that nobody can read without changing them.
var looseResults = map[string]string{
	"a name twice": `{"a":1,"a":2}`,
	"half a pair":  `"\ud800"`,
	"deep":         strings.Repeat("[", 20000) + strings.Repeat("]", 20000),
}

func init() {
	for name, text := range looseResults {
		fakes[name] = func() { fakeServe(&liar{work: dialogue(answerWith(text))}) }
	}
}

// Results of plugins that are not made with our SDK are held to the same rule, and their workers live.
func TestAResultThatCannotBeReadCostsNoWorker(t *testing.T) {
	for name := range looseResults {
		t.Run(name, func(t *testing.T) {
			p := open(t, fake(t, name))
			for range 3 {
				_, err := value(typed[json.RawMessage, json.RawMessage](p).Do(t.Context(), json.RawMessage("1")))
				if e := itemError(t, "Do", err, host.KindFailed); e.Cause != "" {
					t.Errorf("got the cause %q, want none: the worker lives", e.Cause)
				}
			}
			if n := p.Workers()[0].Items; n != 3 {
				t.Errorf("the worker has run %d items, want 3: it should not have been replaced", n)
			}
		})
	}
}
