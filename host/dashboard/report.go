package dashboard

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/parhost/parhost/host/history"
)

// reportBins is how many bins a lane has in a report, if there are few lanes.
const reportBins = 1000

// Report is what a report shows.
type Report struct {
	Runs     []*Run
	Contrast *Contrast // nil for a single run
	Logs     *Logs     // nil for none
}

// Contrast is a comparison of modes.
type Contrast struct {
	Modes   []Mode `json:"modes"`
	Verdict string `json:"verdict"`
}

// Mode is one mode of a comparison.
type Mode struct {
	Label      string  `json:"label"`
	Workers    int     `json:"workers"`
	Wall       float64 `json:"wall_s"`
	Start      float64 `json:"start_s"`
	PerSecond  float64 `json:"items_per_s"`
	SpeedUp    float64 `json:"speed_up"` // against the first mode
	Dispatch   float64 `json:"dispatch_us_per_item"`
	Items      int     `json:"items"`
	Failed     int     `json:"failed"`
	HostRSS    int64   `json:"host_rss,omitempty"`
	WorkersRSS int64   `json:"workers_rss,omitempty"`
	Takes      string  `json:"a_crash_takes"`
	Shared     bool    `json:"memory_shared"`
}

// recorded is what a report has of a run.
type recorded struct {
	View     view           `json:"view"`
	Timeline timeline       `json:"timeline"`
	Failed   []history.Span `json:"failed"`
}

// WriteReport writes a page with all data inside.
func WriteReport(w io.Writer, r *Report) error {
	data := struct {
		Runs     []recorded `json:"runs"`
		Contrast *Contrast  `json:"contrast,omitempty"`
		Logs     []Line     `json:"logs"`
		Written  time.Time  `json:"written"`
	}{Contrast: r.Contrast, Logs: r.Logs.Since(0), Written: time.Now()}
	for _, run := range r.Runs {
		data.Runs = append(data.Runs, recorded{run.view(), timelineOf(run.Store, 0, 1<<62, reportBins), failedOf(run)})
	}
	text, err := json.Marshal(data) // which escapes <, so that no text ends the element
	if err != nil {
		return err
	}
	page := pageHTML
	for _, part := range []struct{ from, to string }{
		{`<link rel="stylesheet" href="page.css">`, fmt.Sprintf(`<meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src '%s'; style-src '%s'; img-src data:"><style>%s</style>`,
			hashOf(pageJS), hashOf(pageCSS), pageCSS)},
		{`<script src="page.js" defer></script>`, ""},
		{`</body>`, fmt.Sprintf(`<script type="application/json" id="data">%s</script><script>%s</script></body>`, text, pageJS)},
	} {
		before, after, found := bytes.Cut(page, []byte(part.from))
		if !found {
			return fmt.Errorf("the page has no %s", part.from)
		}
		page = slices.Concat(before, []byte(part.to), after)
	}
	_, err = w.Write(page)
	return err
}

func hashOf(text []byte) string {
	sum := sha256.Sum256(text)
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

// failedOf returns the latest failed attempts of a run.
func failedOf(r *Run) []history.Span {
	failed := r.Store.Failed()
	for i := range failed {
		failed[i].Message = plainText(failed[i].Message)
	}
	return failed
}
