package sandbox

// Tasks is a limit of processes and threads, which the kernel counts together.
type Tasks struct {
	Limit      string // what sets it: a file of a cgroup, or the user's limit
	Most, Used int
}

// Free is how many more processes and threads the limit allows.
func (t Tasks) Free() int { return max(0, t.Most-t.Used) }
