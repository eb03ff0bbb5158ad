package main

import (
	"fmt"
	"html"
	"io"
	"math"
	"strings"
)

// Sizes in the chart, in pixels.
const (
	chartWidth = 960
	labelWidth = 330 // width of the names, left of the bars
	valueWidth = 170 // width of the figures, right of the bars
	barHeight  = 16
	barStep    = 22
	titleStep  = 40
	headHeight = 74
)

// axis is the logarithmic axis of the chart. It covers all figures, rounded out to powers of ten.
type axis struct{ low, high float64 } // exponents of ten

func (a axis) x(ratio float64) float64 {
	return labelWidth + (math.Log10(ratio)-a.low)/(a.high-a.low)*(chartWidth-labelWidth-valueWidth)
}

// drawChart writes the chart as SVG. Each bar shows how many times as long as the row's first contender a contender took.
func drawChart(w io.Writer, results []*result) error {
	var drawn []*result
	ax := axis{0, 1}
	height := headHeight
	for _, r := range results {
		if bars := r.bars(); len(bars) > 1 {
			drawn = append(drawn, r)
			height += titleStep + len(bars)*barStep
			for _, o := range bars {
				power := math.Log10(r.times(o))
				ax.low, ax.high = min(ax.low, math.Floor(power)), max(ax.high, math.Ceil(power))
			}
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="system-ui,'Segoe UI',Helvetica,Arial,'DejaVu Sans',sans-serif" font-size="13">`+"\n",
		chartWidth, height+20, chartWidth, height+20)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" rx="9" fill="#ffffff"/>`+"\n", chartWidth, height+20)
	text(&b, 18, 30, `font-size="17" font-weight="600"`, "Times as long as parhost, on the same work")
	text(&b, 18, 50, `fill="#666"`, "logarithmic; each bar begins at 1 ×, and its thin line is the spread of its turns")
	for power := ax.low; power <= ax.high; power++ {
		x := ax.x(math.Pow(10, power))
		color := "#e4e4e4"
		if power == 0 {
			color = "#999"
		}
		fmt.Fprintf(&b, `<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="%s"/>`+"\n", x, headHeight, x, height, color)
		text(&b, x, headHeight-6, `fill="#666" text-anchor="middle" font-size="11"`, fmt.Sprintf("%g ×", math.Pow(10, power)))
	}
	y := float64(headHeight)
	for _, r := range drawn {
		y = r.draw(&b, ax, y)
	}
	b.WriteString("</svg>\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// bars returns the contenders of a row that can be drawn: those that did as much work as parhost. It returns none unless parhost is the row's first
// contender and was measured.
func (r *result) bars() []*outcome {
	first := r.outcomes[0]
	if !isOurs(first) || !first.measured() {
		return nil
	}
	var bars []*outcome
	for _, o := range r.outcomes {
		if o.measured() && r.comparable(o) {
			bars = append(bars, o)
		}
	}
	return bars
}

func isOurs(o *outcome) bool { return strings.HasPrefix(o.contender.name, ours) }

func (r *result) times(o *outcome) float64 {
	return float64(o.median()) / float64(r.outcomes[0].median())
}

// draw draws the row at height y and returns the height of the next row.
func (r *result) draw(b *strings.Builder, ax axis, y float64) float64 {
	y += titleStep
	text(b, 18, y-10, `font-weight="600"`, r.row.title)
	first := float64(r.outcomes[0].median())
	for _, o := range r.bars() {
		color := "#b9bec8"
		if isOurs(o) {
			color = "#2f6fde"
		}
		from, to := ax.x(1), ax.x(r.times(o))
		fmt.Fprintf(b, `<rect x="%.1f" y="%.1f" width="%.1f" height="%d" fill="%s"/>`+"\n", min(from, to), y, max(2, math.Abs(to-from)), barHeight, color)
		least, most := o.extremes()
		fmt.Fprintf(b, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="#333"/>`+"\n", ax.x(float64(least)/first), y+barHeight/2, ax.x(float64(most)/first), y+barHeight/2)
		text(b, labelWidth-10, y+barHeight-3, `text-anchor="end"`, o.contender.name)
		text(b, chartWidth-valueWidth+14, y+barHeight-3, `fill="#333"`, showTime(o.median())+" · "+showRatio(r.times(o)))
		y += barStep
	}
	return y
}

func text(b *strings.Builder, x, y float64, attributes, s string) {
	fmt.Fprintf(b, `<text x="%.1f" y="%.1f" %s>%s</text>`+"\n", x, y, attributes, html.EscapeString(s))
}
