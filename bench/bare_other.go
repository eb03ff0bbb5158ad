//go:build !linux

package main

import "os"

func bareMemory(int) (*os.File, []float64, error) {
	return nil, nil, &missingError{"memory without a file name, which only Linux has,"}
}
