// Package rlimit is the first stage of a process that has limits: it sets them, and becomes what it was told.
//
// macOS has no prlimit(2), and Go cannot run code between fork and exec, so that limits can only be set by a process for itself. It is the
// host's own program, started once more; a program that links this package does it before its main if [Variable] is set. What it becomes is
// its arguments.
package rlimit

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Variable holds the [Spec] of such a process. What that becomes does not have it.
const Variable = "PARHOST_SANDBOX_LIMITS"

// Spec says what to set.
type Spec struct {
	Keep   int // so many descriptors from 3 on stay open
	Limits []Limit
}

// Limit is one of setrlimit(2), soft and hard.
type Limit struct {
	Resource int
	Value    uint64
}

// String returns what goes into [Variable]: the number of descriptors, and resource=value for each limit.
func (s *Spec) String() string {
	words := []string{strconv.Itoa(s.Keep)}
	for _, l := range s.Limits {
		words = append(words, fmt.Sprintf("%d=%d", l.Resource, l.Value))
	}
	return strings.Join(words, " ")
}

// Parse reads what String has written, and nothing else.
func Parse(text string) (*Spec, error) {
	words := strings.Split(text, " ")
	s := &Spec{}
	var err error
	if s.Keep, err = strconv.Atoi(words[0]); err != nil {
		return nil, err
	}
	for _, w := range words[1:] {
		resource, value, _ := strings.Cut(w, "=")
		var l Limit
		if l.Resource, err = strconv.Atoi(resource); err != nil {
			return nil, err
		}
		if l.Value, err = strconv.ParseUint(value, 10, 64); err != nil {
			return nil, err
		}
		s.Limits = append(s.Limits, l)
	}
	if s.Keep < 0 || s.String() != text {
		return nil, errors.New("not as it would have been written")
	}
	return s, nil
}
