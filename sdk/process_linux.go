package sdk

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// A host asks the kernel to kill a worker when it dies itself. That ends the worker before its own watch on the host can end the
// processes that the worker started, so a worker asks for a signal that it can still act on. The request belongs to a thread:
// only in init is it certain that this is the first one, which the host's request came with.
func init() {
	if launched() {
		_ = unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(orphanSignal), 0, 0, 0)
	}
}

// wakeAsOrphan keeps the calling goroutine's thread for itself, and lets the kernel continue this process when the host dies: one that
// is stopped would not get to act on the other signal. Each thread can ask for one.
func wakeAsOrphan() {
	runtime.LockOSThread()
	_ = unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGCONT), 0, 0, 0)
}
