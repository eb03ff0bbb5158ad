package child

import (
	"bytes"
	"strconv"

	"github.com/parhost/parhost/internal/procfile"
)

// oomKills returns how many processes of this machine the kernel has killed so far because memory ran out, or 0 if it does not say (proc_vmstat(5), since Linux
// 4.13).
func oomKills() int64 {
	b, err := procfile.Read("/proc/vmstat")
	if err != nil {
		return 0
	}
	_, after, _ := bytes.Cut(b, []byte("\noom_kill "))
	line, _, _ := bytes.Cut(after, []byte("\n"))
	n, _ := strconv.ParseInt(string(line), 10, 64)
	return n
}
