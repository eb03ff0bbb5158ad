// Package rss reads how much memory a process has resident.
package rss

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// StatusBytes is how long a process's status is at most.
const StatusBytes = 4 << 10

// Memory is what a process has, in bytes.
type Memory struct {
	Resident  int64 // all, with what it shares
	Anonymous int64 // of that what is its own, and no file's
	Shared    int64 // of that what it may share with others by a mapping, as workers do with their host
	Swapped   int64 // beside that: anonymous memory that was moved out
}

// Parse reads /proc/PID/status (proc_pid_status(5)). A process that has ended has no memory.
func Parse(status []byte) (m Memory, err error) {
	for line := range bytes.Lines(status) {
		key, value, _ := strings.Cut(string(line), ":")
		var field *int64
		switch key {
		case "VmRSS":
			field = &m.Resident
		case "RssAnon":
			field = &m.Anonymous
		case "RssShmem":
			field = &m.Shared
		case "VmSwap":
			field = &m.Swapped
		default:
			continue
		}
		kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		if err != nil {
			return Memory{}, fmt.Errorf("%s: %w", key, err)
		}
		*field = kib << 10
	}
	return m, nil
}
