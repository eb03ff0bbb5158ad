package child

import (
	"os/exec"
	"runtime"
	"sync"
)

// spawner starts processes from one thread that lives as long as the spawner. The kernel kills a child that asked for a parent-death signal when the *thread*
// that started it ends (golang/go#27505), so the thread must not be one that Go may end earlier.
type spawner struct {
	jobs chan func()
	done sync.WaitGroup
}

func newSpawner() *spawner {
	s := &spawner{jobs: make(chan func())}
	s.done.Go(func() {
		runtime.LockOSThread() // never unlocked: the thread ends with this goroutine
		for job := range s.jobs {
			job()
		}
	})
	return s
}

// start starts cmd, and immediately calls began with its process id.
func (s *spawner) start(cmd *exec.Cmd, began func(pid int)) error {
	started := make(chan error, 1)
	s.jobs <- func() {
		err := cmd.Start()
		if err == nil {
			preferToKill(cmd.Process.Pid)
			began(cmd.Process.Pid)
		}
		started <- err
	}
	return <-started
}

// close ends the thread. The kernel then kills those of its processes that still live. No start may be under way.
func (s *spawner) close() {
	close(s.jobs)
	s.done.Wait()
}
