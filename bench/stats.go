package main

import (
	"slices"
	"time"
)

// median returns the middle value, or the mean of the two middle values if their number is even. There must be at least one value.
func median(times []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(times))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}

// line is a straight line through points. r2 is the coefficient of determination, the share of the variance that the line explains.
type line struct{ slope, intercept, r2 float64 }

// fit returns the least-squares line through the points.
func fit(xs, ys []float64) line {
	var sumX, sumY float64
	for i := range xs {
		sumX += xs[i]
		sumY += ys[i]
	}
	meanX, meanY := sumX/float64(len(xs)), sumY/float64(len(ys))
	var xx, xy, yy float64
	for i := range xs {
		dx, dy := xs[i]-meanX, ys[i]-meanY
		xx += dx * dx
		xy += dx * dy
		yy += dy * dy
	}
	slope := xy / xx
	return line{slope, meanY - slope*meanX, slope * xy / yy}
}
