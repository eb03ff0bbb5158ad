package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// filterRow measures the command in a pipeline, with text as input and output and a long input.
func filterRow() row {
	return row{
		name:  "filter",
		title: "10 000 000 numbers from stdin to values on stdout",
		about: "`parhost -p sqrt --procs 2 --input - --output values`, whole command, from a file and to a file; and smaller inputs, to see the cost grow.",
		size:  10_000_000, small: 20_000,
		want:       wantRoots,
		contenders: []contender{filtered(1), filtered(10), filtered(100), filtered(1000)},
		goals: []goal{
			itemsPerSecond(2_000_000),
			peakAtMost(100_000_000),
			{"cost grows linearly: R² of the fit ≥ 0.99", func(r *result) verdict {
				l, ok := filterFit(r)
				if !ok {
					return verdict{}
				}
				return verdict{fmt.Sprintf("R² = %.5f", l.r2), l.r2 >= 0.99}
			}},
		},
		more: filterText,
	}
}

// filtered returns a contender that runs the command on 1/part of the row's items.
func filtered(part int) contender {
	name := ours
	if part > 1 {
		name = fmt.Sprintf("%s, 1/%d of them", ours, part)
	}
	return contender{name: name, items: func(n int) int { return n / part }, measure: func(ctx context.Context, l *lab, n int) (measurement, error) {
		in, out := filepath.Join(l.dir, fmt.Sprintf("%d.txt", n)), filepath.Join(l.dir, "roots.txt")
		if err := writeNumbers(in, n); err != nil {
			return measurement{}, err
		}
		c := command{args: []string{l.parhost, "-p", "sqrt", "--procs", "2", "--input", "-", "--output", "values", "--progress", "none"}, stdin: in, stdout: out}
		t, err := c.sample(ctx, l)
		if err != nil {
			return t, err
		}
		t.answer, err = digestFile(out)
		return t, err
	}}
}

// writeNumbers writes the numbers 0 to n-1, one per line, unless the file exists already.
func writeNumbers(path string, n int) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer file.Close()
	w := bufio.NewWriter(file)
	var line []byte
	for i := range n {
		line = append(strconv.AppendInt(line[:0], int64(i), 10), '\n')
		if _, err := w.Write(line); err != nil {
			return err
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return file.Close()
}

// digestFile returns the digest of the numbers in a file that has one number per line.
func digestFile(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	d := newDigester()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		v, err := strconv.ParseFloat(lines.Text(), 64)
		if err != nil {
			return "", err
		}
		d.add(v)
	}
	return d.text(), lines.Err()
}

// filterFit fits a line to the time as a function of the number of items. It returns false unless all contenders were measured.
func filterFit(r *result) (line, bool) {
	var xs, ys []float64
	for _, o := range r.outcomes {
		if !o.measured() {
			return line{}, false
		}
		xs = append(xs, float64(o.n))
		ys = append(ys, o.median().Seconds())
	}
	return fit(xs, ys), true
}

func filterText(r *result) string {
	l, ok := filterFit(r)
	if !ok {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "The line of least squares: %s to begin with, then %.3g µs an item (R² = %.5f). From one size to the next, a further item costs",
		showTime(time.Duration(l.intercept*1e9)), l.slope*1e6, l.r2)
	for i := len(r.outcomes) - 1; i > 0; i-- {
		less, more := r.outcomes[i], r.outcomes[i-1]
		if i < len(r.outcomes)-1 {
			b.WriteString(",")
		}
		fmt.Fprintf(&b, " %.3g µs", float64((more.median()-less.median()).Microseconds())/float64(more.n-less.n))
	}
	fmt.Fprintf(&b, ". The largest process of the whole run held %s.\n", showBytes(r.outcomes[0].peakRSS))
	return b.String()
}
