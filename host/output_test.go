package host

import (
	"bytes"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
)

// No level that a worker names is written by a logger that is told to write nothing.
func TestAWorkerCannotSpeakLouderThanItsHostListens(t *testing.T) {
	for level, want := range map[hclog.Level]string{hclog.Off: "", hclog.Error: "[ERROR] said"} {
		t.Run(level.String(), func(t *testing.T) {
			var log bytes.Buffer
			o := &output{logger: hclog.New(&hclog.LoggerOptions{Level: level, Output: &log, DisableTime: true})}
			o.add(`{"@level":"off","@message":"said"}`)
			if got := strings.TrimSpace(log.String()); got != want {
				t.Errorf("a line at the level off: got %q, want %q", got, want)
			}
		})
	}
}
