//go:build linux && !amd64

package attempt

func foreign(tell) {}
