//go:build !linux

package main

func resetPeakRSS() {}

// peakRSS always returns 0: this system does not report it for other processes, so parhost reports it for none.
func peakRSS(int) int64 { return 0 }
