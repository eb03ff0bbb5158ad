package main

import (
	"bufio"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// cgroup is a control group of this process.
type cgroup struct {
	controllers []string // controllers of cgroup version 1; nil for version 2
	mount       string   // mount point of the hierarchy
	dir         string   // folder of the process's own group
}

// ownCgroups returns the control groups of this process whose hierarchies are mounted (cgroups(7), proc_pid_mountinfo(5)).
func ownCgroups() []cgroup {
	paths, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil
	}
	mounts, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil
	}
	defer mounts.Close()
	var groups []cgroup
	for lines := bufio.NewScanner(mounts); lines.Scan(); {
		front, back, _ := strings.Cut(lines.Text(), " - ")
		place, kind := strings.Fields(front), strings.Fields(back)
		if len(place) < 5 || len(kind) < 3 || kind[0] != "cgroup" && kind[0] != "cgroup2" {
			continue
		}
		root, mount := place[3], place[4]
		for line := range strings.Lines(string(paths)) {
			parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
			if len(parts) != 3 {
				continue
			}
			g := cgroup{mount: mount, dir: mount}
			if kind[0] == "cgroup2" != (parts[1] == "") {
				continue
			}
			if parts[1] != "" {
				g.controllers = strings.Split(parts[1], ",")
				if !slices.Contains(strings.Split(kind[2], ","), g.controllers[0]) {
					continue
				}
			}
			// The mount may show only part of the hierarchy. A group outside of that part cannot be seen from here, so dir stays the mount point.
			if rel, err := filepath.Rel(root, parts[2]); err == nil && filepath.IsLocal(rel) {
				if dir := filepath.Join(mount, rel); isDir(dir) {
					g.dir = dir
				}
			}
			groups = append(groups, g)
		}
	}
	return groups
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// values returns the contents of a file in the group's folder and in each folder above it, up to the mount point. Folders without the file are
// skipped.
func (g *cgroup) values(file string) []string {
	var found []string
	for dir := g.dir; ; dir = filepath.Dir(dir) {
		if text, err := os.ReadFile(filepath.Join(dir, file)); err == nil {
			found = append(found, strings.TrimSpace(string(text)))
		}
		if dir == g.mount || len(dir) <= 1 {
			return found
		}
	}
}

func (g *cgroup) has(controller string) bool {
	return g.controllers == nil || slices.Contains(g.controllers, controller)
}

// cpuQuota returns how many CPUs' worth of time the control groups allow, or 0 if they set no limit.
func cpuQuota() float64 {
	quota := 0.0
	limit := func(of, per string) {
		time, err1 := strconv.ParseFloat(of, 64)
		period, err2 := strconv.ParseFloat(per, 64)
		if err1 != nil || err2 != nil || time <= 0 || period <= 0 {
			return // "max" and -1 mean no limit
		}
		if q := time / period; quota == 0 || q < quota {
			quota = q
		}
	}
	for _, g := range ownCgroups() {
		if g.controllers == nil {
			for _, v := range g.values("cpu.max") {
				if f := strings.Fields(v); len(f) == 2 {
					limit(f[0], f[1])
				}
			}
		} else if g.has("cpu") {
			times, periods := g.values("cpu.cfs_quota_us"), g.values("cpu.cfs_period_us")
			for i := range min(len(times), len(periods)) {
				limit(times[i], periods[i])
			}
		}
	}
	return quota
}

// unlimited is the smallest number of bytes that means no limit: version 1 reports no limit as the largest number of pages.
const unlimited = 1 << 60

// memoryLimit returns the smallest memory limit of the control groups in bytes, or 0 if they set none.
func memoryLimit() int64 {
	var least int64
	for _, g := range ownCgroups() {
		file := "memory.max"
		if !g.has("memory") {
			continue
		}
		if g.controllers != nil {
			file = "memory.limit_in_bytes"
		}
		for _, v := range g.values(file) {
			if n, err := strconv.ParseInt(v, 10, 64); err == nil && n < unlimited && (least == 0 || n < least) {
				least = n
			}
		}
	}
	return least
}
