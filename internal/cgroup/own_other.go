//go:build !linux

package cgroup

import "errors"

func read(string) ([]byte, error) { return nil, errors.ErrUnsupported }

// Own returns the groups of this process. This system has none.
func Own() ([]Group, error) { return nil, nil }
