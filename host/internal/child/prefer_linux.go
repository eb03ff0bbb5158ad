package child

import (
	"bytes"
	"fmt"
	"os"
	"strconv"

	"github.com/parhost/parhost/internal/procfile"
)

// workerBadness is added to the host's oom_score_adj for its workers. The kernel then treats each as if it used half of the memory more
// (proc_pid_oom_score_adj(5)).
const workerBadness = 500

// preferToKill makes the kernel kill a worker, and the processes that it starts, before its host when memory runs out. Raising the value needs no privilege. If
// the file of the worker cannot be written, the worker keeps its host's value.
func preferToKill(pid int) {
	b, err := procfile.Read("/proc/self/oom_score_adj")
	if err != nil {
		return
	}
	own, err := strconv.Atoi(string(bytes.TrimSpace(b)))
	if err != nil {
		return
	}
	_ = os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid), []byte(strconv.Itoa(min(own+workerBadness, 1000))), 0)
}
