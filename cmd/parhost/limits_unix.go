//go:build unix

package main

import (
	"errors"
	"fmt"
	"math"
	"strings"

	"golang.org/x/sys/unix"
)

// fileLimit returns a note about the file size limit of the shell if this limit caused err and err does not name it, or "" otherwise.
func fileLimit(err error) string {
	var limit unix.Rlimit
	if !errors.Is(err, unix.EFBIG) || strings.Contains(err.Error(), "ulimit -f") ||
		unix.Getrlimit(unix.RLIMIT_FSIZE, &limit) != nil || limit.Cur > math.MaxInt64 {
		return ""
	}
	return fmt.Sprintf("; the limit of a file is %d bytes here (ulimit -f)", limit.Cur)
}
