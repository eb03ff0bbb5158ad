//go:build !linux

package gobuild

import (
	"os/exec"
	"runtime"
)

// bounds does nothing: only Linux can end a process with the one that started it, or limit the memory of another process.
type bounds struct{}

func newBounds() *bounds { return &bounds{} }

func (*bounds) guarded(string) error         { return nil }
func (*bounds) close(bool)                   {}
func (*bounds) run(cmd *exec.Cmd) error      { return cmd.Run() }
func (*bounds) runBuild(cmd *exec.Cmd) error { return cmd.Run() }

func parallel() int { return runtime.NumCPU() }
