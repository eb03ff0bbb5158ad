package main

import "testing"

func TestCountRanges(t *testing.T) {
	for list, want := range map[string]int{"0": 1, "0-3": 4, "0-3,8,10-11": 7, "": 0, "x": 0, "3-1": 0} {
		if got := countRanges(list); got != want {
			t.Errorf("%q: got %d, want %d", list, got, want)
		}
	}
}
