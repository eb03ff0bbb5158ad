package sandbox

// Tasks is a limit on processes and threads, which the kernel counts together.
type Tasks struct {
	Limit      string // what sets the limit: a cgroup's file, or the user's limit
	Most, Used int
}

// Free returns how many more processes and threads the limit allows.
func (t Tasks) Free() int { return max(0, t.Most-t.Used) }
