//go:build !linux

package main

func resetPeakRSS() {}

// peakRSS is not to be had for other processes here, so it is not given for any.
func peakRSS(int) int64 { return 0 }

// memoryLimit is 0: there are no cgroups here.
func memoryLimit() int64 { return 0 }
