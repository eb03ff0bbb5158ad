package child

import (
	"os"
	"syscall"
	"time"
)

// UsesTCP says that go-plugin listens on loopback here, so its AutoMTLS is on.
const UsesTCP = true

// canInherit says that a process can inherit files beside the standard ones.
const canInherit = false

// killGroup kills the process. What it has started is in its job object, which the sandbox ends with it at every level.
func killGroup(p *os.Process) { _ = p.Kill() }

// AskForStacks has no means here.
func (*Process) AskForStacks() {}

func signalOf(*os.ProcessState) (name, text string) { return "", "" }

// mayBeKilled is always true: there are no signals here, and a kill leaves an exit code.
func mayBeKilled(*os.ProcessState) bool { return true }

// isolate keeps the terminal's Ctrl-C from the process.
func isolate() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP}
}

// cpuLimit knows of no limit here.
func cpuLimit(string) time.Duration { return 0 }

// dataLimit, fileLimit and stackLimit know of no limit here.
func dataLimit() int64  { return -1 }
func fileLimit() int64  { return -1 }
func stackLimit() int64 { return -1 }

func maxRSS(*os.ProcessState) int64 { return 0 }
