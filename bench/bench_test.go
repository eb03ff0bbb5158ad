package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// The test binary also serves as its own workers, the plain plugin and the witness.
func TestMain(m *testing.M) {
	if code, done := playChild(); done {
		os.Exit(code)
	}
	goleak.VerifyTestMain(m)
}

// openTestLab opens a lab with the peers that are installed.
func openTestLab(t *testing.T) *lab {
	t.Helper()
	l, err := openLab(t.Context(), "../.bin/bench", 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	delete(l.has, "ray") // the daemons of Ray take longer to start than everything else together
	return l
}

// Each turn compares the answer with the right one, so contenders that do not fail agree.
func TestEveryRowGivesSaneAnswersThatAgree(t *testing.T) {
	l := openTestLab(t)
	for _, r := range rows() {
		t.Run(r.name, func(t *testing.T) {
			result, err := session{rounds: 1, short: true, progress: t.Output()}.run(t.Context(), l, r)
			if err != nil {
				t.Fatal(err)
			}
			for _, o := range result.outcomes {
				_, missing := errors.AsType[*missingError](o.err)
				switch {
				case missing && !isOurs(o):
				case o.err != nil:
					t.Errorf("%s: %v", o.contender.name, o.err)
				case o.median() <= 0 || o.median() > measureLimit:
					t.Errorf("%s: got %v, want a time", o.contender.name, o.median())
				}
			}
			for _, g := range r.goals {
				g.judge(result) // panics if the goal names a contender that the row does not have
			}
		})
	}
}

func TestAWrongAnswerIsAFailure(t *testing.T) {
	r := sqrtRow()
	r.contenders = r.contenders[:1]
	r.want = wantDone
	got, err := session{rounds: 1, short: true, progress: io.Discard}.run(t.Context(), openTestLab(t), r)
	if err != nil {
		t.Fatal(err)
	}
	if err := (&report{results: []*result{got}}).failures(); err == nil || !strings.Contains(err.Error(), "sqrt: parhost: wrong answer") {
		t.Errorf("got %v, want a wrong answer", err)
	}
}

func TestPeakOfACommandIsNotThatOfItsParent(t *testing.T) {
	tool, err := exec.LookPath("true")
	if err != nil {
		t.Skip(err)
	}
	held := bytes.Repeat([]byte{1}, 300_000_000)
	c := command{args: []string{tool}}
	seen, err := c.run(t.Context(), &lab{dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	if seen.Took <= 0 || seen.PeakRSS > int64(len(held))/2 {
		t.Errorf("got %v and %d bytes, want a time and far less than %d bytes", seen.Took, seen.PeakRSS, len(held))
	}
}

func TestMedian(t *testing.T) {
	for name, c := range map[string]struct {
		times []time.Duration
		want  time.Duration
	}{
		"one":  {[]time.Duration{7}, 7},
		"odd":  {[]time.Duration{9, 1, 5}, 5},
		"even": {[]time.Duration{8, 2, 1, 4}, 3},
	} {
		if got := median(c.times); got != c.want {
			t.Errorf("%s: got %d, want %d", name, got, c.want)
		}
	}
}

func TestFit(t *testing.T) {
	l := fit([]float64{1, 2, 3}, []float64{5, 7, 9})
	if math.Abs(l.slope-2) > 1e-12 || math.Abs(l.intercept-3) > 1e-12 || math.Abs(l.r2-1) > 1e-12 {
		t.Errorf("points on a line: got %+v, want 3 + 2x", l)
	}
	if l := fit([]float64{1, 2, 3}, []float64{1, 0, 1}); l.slope != 0 || l.r2 != 0 {
		t.Errorf("points on no line: got %+v, want that nothing is explained", l)
	}
}

// madeUp returns a result with known figures.
func madeUp() *result {
	r := row{
		name: "sqrt", title: "sqrt × 10", about: "Ten roots.",
		goals: []goal{atMost(5 * time.Millisecond), timesFaster(ours, 100, "peer <1>"), timesFaster(ours, 1, "absent")},
	}
	return &result{row: r, n: 10, outcomes: []*outcome{
		{contender: contender{name: ours}, n: 10, medians: []time.Duration{4e6, 5e6, 9e6}},
		{contender: contender{name: "peer <1>"}, n: 10, medians: []time.Duration{4e8, 1e8, 2e8}},
		{contender: contender{name: "absent"}, n: 10, err: &missingError{"absent"}},
	}}
}

func TestReport(t *testing.T) {
	rep := report{session: session{rounds: 3}, results: []*result{madeUp()}}
	var text strings.Builder
	if err := errors.Join(rep.write(&text), rep.failures()); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"| sqrt × 10 | ≤ 5.00 ms | 5.00 ms | met |",
		"| sqrt × 10 | peer <1>: ≥ 100 × faster | 40.0 × faster | missed |",
		"| sqrt × 10 | absent: faster | – | not measured |",
		"| parhost | 5.00 ms | 4.00 ms – 9.00 ms | 2000 | 1.00 × |",
		"| peer <1> | 200 ms | 100 ms – 400 ms | 50.0 | 40.0 × |",
		"| absent | – | absent is not installed | – | – |",
	} {
		if !strings.Contains(text.String(), "\n"+want+"\n") {
			t.Errorf("got no line %s in\n%s", want, text.String())
		}
	}
}

func TestChartIsXMLWithEveryBar(t *testing.T) {
	var chart bytes.Buffer
	if err := drawChart(&chart, []*result{madeUp()}); err != nil {
		t.Fatal(err)
	}
	if text := chart.String(); !strings.Contains(text, "peer &lt;1&gt;") || !strings.Contains(text, "200 ms · 40.0 ×") || strings.Contains(text, "absent") {
		t.Errorf("got %s", text)
	}
	for d := xml.NewDecoder(&chart); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

func TestFiguresHaveThreeDigits(t *testing.T) {
	for got, want := range map[string]string{
		showTime(0):              "0 s",
		showTime(1234):           "1.23 µs",
		showTime(56_780_000):     "56.8 ms",
		showTime(999_960_000_00): "100 s",
		showCount(9994):          "9994",
		showCount(123_456):       "123 k",
		showCount(2_000_000):     "2.00 M",
		showRatio(0.0123):        "0.0123 ×",
		showRatio(781.4):         "781 ×",
	} {
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
