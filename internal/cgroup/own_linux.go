package cgroup

import (
	"sync"

	"github.com/parhost/parhost/internal/procfile"
)

func read(path string) ([]byte, error) { return procfile.Read(path) }

// mounted reads the hierarchies once, because they hardly ever change, and the kernel takes long to write a long list of mounts.
var mounted = sync.OnceValues(func() ([]hierarchy, error) {
	mounts, err := read("/proc/self/mountinfo")
	return hierarchies(string(mounts)), err
})

// Own returns the groups of this process. It fails only if /proc cannot be read.
func Own() ([]Group, error) {
	all, err := mounted()
	if err != nil {
		return nil, err
	}
	groups, err := read("/proc/self/cgroup")
	return groupsIn(all, string(groups)), err
}
