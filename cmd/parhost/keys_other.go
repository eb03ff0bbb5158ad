//go:build !linux

package main

import "errors"

// openKeyboard returns an error: keys are read only on Linux.
func openKeyboard() (keyboard, error) { return nil, errors.ErrUnsupported }
