//go:build !linux

package main

import "errors"

func arena(int) ([]float64, error) { return nil, errors.ErrUnsupported }
