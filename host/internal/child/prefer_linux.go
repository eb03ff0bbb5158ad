package child

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
)

// workerBadness is added to the oom_score_adj of the host for its workers: as if each used half of the memory more (proc_pid_oom_score_adj(5)).
const workerBadness = 500

// preferToKill lets the kernel end a worker before its host when memory runs out, and with it all that the worker starts. Raising the value
// needs no privilege. It is best effort: a worker that may not be written to keeps its host's value.
func preferToKill(pid int) {
	b, err := os.ReadFile("/proc/self/oom_score_adj")
	if err != nil {
		return
	}
	own, err := strconv.Atoi(string(bytes.TrimSpace(b)))
	if err != nil {
		return
	}
	_ = os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid), []byte(strconv.Itoa(min(own+workerBadness, 1000))), 0)
}
