package sdk

import "golang.org/x/sys/unix"

// A host asks the kernel to kill a worker when it dies itself. That ends the worker before its own watch on the host can end the
// processes that the worker started, so a worker asks for a signal that it can still act on. The request belongs to a thread:
// only in init is it certain that this is the first one, which the host's request came with.
func init() {
	if launched() {
		_ = unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(orphanSignal), 0, 0, 0)
	}
}
