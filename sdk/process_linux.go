package sdk

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// A host asks the kernel to send its workers SIGKILL when it dies. SIGKILL would end the worker before it can kill the processes that it has started,
// so the worker replaces the request by a signal that it can handle. The request belongs to a thread: only init is sure to run on the main thread,
// for which the host made the request.
func init() {
	if launched() {
		_ = unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(orphanSignal), 0, 0, 0)
	}
}

// wakeAsOrphan locks the calling goroutine to its thread and asks the kernel for SIGCONT on that thread when the host dies. Otherwise a stopped
// process could not handle orphanSignal. Each thread can ask for one signal.
func wakeAsOrphan() {
	runtime.LockOSThread()
	_ = unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGCONT), 0, 0, 0)
}
