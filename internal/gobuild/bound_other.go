//go:build !linux

package gobuild

import (
	"os/exec"
	"runtime"
)

// No other system than Linux ends a process with the one that started it, nor limits the memory of another.
type bounds struct{}

func newBounds() *bounds { return &bounds{} }

func (*bounds) guarded(string) error         { return nil }
func (*bounds) close(bool)                   {}
func (*bounds) run(cmd *exec.Cmd) error      { return cmd.Run() }
func (*bounds) runBuild(cmd *exec.Cmd) error { return cmd.Run() }

func parallel() int { return runtime.NumCPU() }
