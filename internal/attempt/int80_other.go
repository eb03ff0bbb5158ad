//go:build linux && !amd64

package attempt

import "golang.org/x/sys/unix"

func foreign(func(string, func() error, ...unix.Errno)) {}
