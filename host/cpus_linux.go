package host

import (
	"math"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
)

// cpuQuota returns how many CPUs the cgroups of this process allow it to use, rounded up, or 0 if they set no quota. Go's own count is never less than two for
// a quota (runtime.GOMAXPROCS).
func cpuQuota() int {
	groups, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return 0
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return 0
	}
	least := math.Inf(1)
	for line := range strings.Lines(string(groups)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		v2 := parts[1] == ""
		if !v2 && !slices.Contains(strings.Split(parts[1], ","), "cpu") {
			continue
		}
		for at, top := groupFolder(string(mounts), v2, parts[2]); at != ""; at = path.Dir(at) {
			if quota, ok := quotaOf(at, v2); ok {
				least = min(least, quota)
			}
			if at == top {
				break
			}
		}
	}
	if math.IsInf(least, 1) {
		return 0
	}
	return max(1, int(math.Ceil(least)))
}

// groupFolder returns the folder of a cgroup and the folder of its mount. Both are "" if the cgroup is not mounted (proc_pid_mountinfo(5)).
func groupFolder(mounts string, v2 bool, group string) (folder, top string) {
	for line := range strings.Lines(mounts) {
		before, after, _ := strings.Cut(strings.TrimSpace(line), " - ")
		fields, kind := strings.Fields(before), strings.Fields(after)
		if len(fields) < 5 || len(kind) < 3 {
			continue
		}
		if v2 && kind[0] != "cgroup2" || !v2 && (kind[0] != "cgroup" || !slices.Contains(strings.Split(kind[2], ","), "cpu")) {
			continue
		}
		rest, inside := strings.CutPrefix(group, strings.TrimSuffix(fields[3], "/"))
		if !inside || rest != "" && rest[0] != '/' {
			rest = "" // the mount shows this process's own group, or one below a namespace's root
		}
		return path.Join(fields[4], rest), path.Clean(fields[4])
	}
	return "", ""
}

// quotaOf returns the number of CPUs that one cgroup allows. ok is false if it sets no quota.
func quotaOf(folder string, v2 bool) (cpus float64, ok bool) {
	var words []string
	if v2 {
		words = fieldsOf(folder + "/cpu.max")
	} else {
		words = append(fieldsOf(folder+"/cpu.cfs_quota_us"), fieldsOf(folder+"/cpu.cfs_period_us")...)
	}
	if len(words) != 2 {
		return 0, false
	}
	quota, err := strconv.ParseFloat(words[0], 64) // "max" and -1 mean no quota
	period, err2 := strconv.ParseFloat(words[1], 64)
	return quota / period, err == nil && err2 == nil && quota > 0 && period > 0
}

func fieldsOf(file string) []string {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	return strings.Fields(string(b))
}
