// Package rlimit is the first stage of a process with limits: the process sets its limits and then executes a command.
//
// macOS has no prlimit(2), and Go cannot run code between fork and exec, so only the process itself can set its limits. The stage is the host's own
// program, started once more. A program that links this package acts as the stage, before its main, if [Variable] is set. The arguments are the
// command to execute.
package rlimit

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Variable is the environment variable with the [Spec] of a stage. The executed command does not have it.
const Variable = "PARHOST_SANDBOX_LIMITS"

// Spec says which limits to set and which descriptors to keep.
type Spec struct {
	Keep   int // how many descriptors from 3 on stay open
	Limits []Limit
}

// Limit is a resource limit of setrlimit(2), soft and hard.
type Limit struct {
	Resource int
	Value    uint64
}

// String returns the value of [Variable]: the number of descriptors, and resource=value for each limit.
func (s *Spec) String() string {
	words := []string{strconv.Itoa(s.Keep)}
	for _, l := range s.Limits {
		words = append(words, fmt.Sprintf("%d=%d", l.Resource, l.Value))
	}
	return strings.Join(words, " ")
}

// Parse parses the exact output of String, and refuses everything else.
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
