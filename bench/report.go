package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// report is the outcome of a session.
type report struct {
	machine machine
	session session
	long    time.Duration
	results []*result
	chart   string // file name of the chart; "" if there is none
}

// failures returns the errors of the contenders that failed or gave a wrong answer, or nil.
func (r *report) failures() error {
	var failures []error
	for _, result := range r.results {
		for _, o := range result.outcomes {
			if o.failed() {
				failures = append(failures, fmt.Errorf("%s: %s: %w", result.row.name, o.contender.name, o.err))
			}
		}
	}
	return errors.Join(failures...)
}

// write writes the report as Markdown.
func (r *report) write(w io.Writer) error {
	var b strings.Builder
	b.WriteString("# parhost against its peers\n\n")
	b.WriteString("`make bench` measured this and wrote this page; no figure is typed by hand. Trust the ratios rather than the times: they are of one\nsession on one machine, where the contenders of a row took turns.\n\n")
	fmt.Fprintf(&b, "- Machine: %s\n- Versions: %s\n", strings.Join(r.machine.place, ", "), strings.Join(r.machine.versions, ", "))
	fmt.Fprintf(&b, "- %s of each contender. A turn does the work once to warm up where the row is about warm workers, then again and again for %s, at least once and at most %d times.\n",
		plural(r.session.rounds, "turn"), showTime(r.long), maxSamples)
	b.WriteString("- A contender's time is the median of its turns, a turn's is the median of its samples; the spread is that of the turns. Every answer was compared with the right one.\n")
	if r.session.short {
		b.WriteString("- A short session: sizes are tiny, whatever the titles say, and nothing is judged.\n")
	} else {
		r.writeGoals(&b)
	}
	if r.chart != "" {
		fmt.Fprintf(&b, "\n![times as long as parhost](%s)\n", r.chart)
	}
	for _, result := range r.results {
		result.write(&b)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (r *report) writeGoals(b *strings.Builder) {
	b.WriteString("\n## What is promised\n\n| row | goal | measured | |\n|---|---|---|---|\n")
	for _, result := range r.results {
		for _, g := range result.row.goals {
			v := g.judge(result)
			measured, met := v.measured, "missed"
			switch {
			case measured == "":
				measured, met = "–", "not measured"
			case v.met:
				met = "met"
			}
			fmt.Fprintf(b, "| %s | %s | %s | %s |\n", result.row.title, g.text, measured, met)
		}
	}
}

// write writes the row's table.
func (r *result) write(b *strings.Builder) {
	fmt.Fprintf(b, "\n## %s\n\n%s\n\n", r.row.title, r.row.about)
	first := r.outcomes[0]
	fmt.Fprintf(b, "| | time | spread | items/s | times %s |\n|---|---:|---:|---:|---:|\n", first.contender.name)
	for _, o := range r.outcomes {
		if !o.measured() {
			fmt.Fprintf(b, "| %s | – | %s | – | – |\n", o.contender.name, oneLine(o.err))
			continue
		}
		least, most := o.extremes()
		ratio := "–"
		if first.measured() && r.comparable(o) {
			ratio = showRatio(float64(o.median()) / float64(first.median()))
		}
		fmt.Fprintf(b, "| %s | %s | %s – %s | %s | %s |\n", o.contender.name, showTime(o.median()),
			showTime(least), showTime(most), showCount(r.rate(o)), ratio)
	}
	if r.row.more != nil {
		if text := r.row.more(r); text != "" {
			fmt.Fprintf(b, "\n%s", text)
		}
	}
}

func oneLine(err error) string {
	if err == nil {
		return "no turn"
	}
	text, _, _ := strings.Cut(err.Error(), "\n")
	return strings.ReplaceAll(text, "|", `\|`)
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// showTime formats a duration with three digits and a unit.
func showTime(d time.Duration) string {
	switch s := d.Seconds(); {
	case s == 0:
		return "0 s"
	case s < 1e-3:
		return digits(s*1e6) + " µs"
	case s < 1:
		return digits(s*1e3) + " ms"
	default:
		return digits(s) + " s"
	}
}

// showCount formats a number with three digits, and k or M for thousands or millions.
func showCount(n float64) string {
	switch {
	case n >= 999_500:
		return digits(n/1e6) + " M"
	case n >= 9995:
		return digits(n/1e3) + " k"
	default:
		return digits(n)
	}
}

func showBytes(n int64) string { return digits(float64(n)/1e6) + " MB" }

func showRatio(r float64) string { return digits(r) + " ×" }

// digits formats a number with three significant digits, without an exponent.
func digits(x float64) string {
	switch {
	case x >= 99.95 || x <= -99.95:
		return fmt.Sprintf("%.0f", x)
	case x >= 9.995 || x <= -9.995:
		return fmt.Sprintf("%.1f", x)
	case x >= 0.9995 || x <= -0.9995:
		return fmt.Sprintf("%.2f", x)
	default:
		return fmt.Sprintf("%.3g", x)
	}
}
