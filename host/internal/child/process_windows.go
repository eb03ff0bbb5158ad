package child

import (
	"os"
	"syscall"
	"time"
)

// UsesTCP says whether go-plugin listens on loopback on this system. If so, go-plugin's AutoMTLS is on.
const UsesTCP = true

// canInherit says whether a process can inherit files beside the standard ones.
const canInherit = false

// killGroup kills the process. The processes that it has started are in its job object, which the sandbox ends with it at every level.
func killGroup(p *os.Process) { _ = p.Kill() }

// AskForStacks does nothing: Windows has no signal for it.
func (*Process) AskForStacks() {}

func signalOf(*os.ProcessState) (name, text string) { return "", "" }

// mayBeKilled returns true for every process: Windows has no signals, and a kill leaves an exit code.
func mayBeKilled(*os.ProcessState) bool { return true }

// isolate starts the process in a new group, so that the terminal's Ctrl-C does not reach it.
func isolate() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP}
}

// cpuLimit returns 0, because it knows no limit on Windows.
func cpuLimit(string) time.Duration { return 0 }

// dataLimit, fileLimit and stackLimit return -1, because they know no limit on Windows.
func dataLimit() int64  { return -1 }
func fileLimit() int64  { return -1 }
func stackLimit() int64 { return -1 }

func maxRSS(*os.ProcessState) int64 { return 0 }
