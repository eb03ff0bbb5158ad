// Package cgroup finds the control groups of this process and reads their limits. On systems without cgroups there are none.
package cgroup

import (
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Group is a control group of this process, in a hierarchy that is mounted.
type Group struct {
	Version     int      // of cgroups: 1 or 2
	Controllers []string // those of the hierarchy, for version 1 only
	Mount       string   // mount point of the hierarchy
	Root        string   // what of the hierarchy is mounted there: "/" means all of it
	Path        string   // the group's place in the hierarchy, as the kernel gives it
}

// hierarchy is a mounted hierarchy of cgroups.
type hierarchy struct {
	version     int
	controllers []string // for version 1 only
	root, mount string
}

// hierarchies returns the hierarchies that the text of /proc/self/mountinfo names (proc_pid_mountinfo(5)).
func hierarchies(mounts string) []hierarchy {
	var found []hierarchy
	for line := range strings.Lines(mounts) {
		// 36 35 98:0 ROOT POINT OPTIONS [optional fields] - TYPE SOURCE SUPEROPTIONS
		before, after, _ := strings.Cut(line, " - ")
		place, kind := strings.Fields(before), strings.Fields(after)
		if len(place) < 5 || len(kind) < 3 {
			continue
		}
		h := hierarchy{root: unescape.Replace(place[3]), mount: unescape.Replace(place[4])}
		switch kind[0] {
		case "cgroup2":
			h.version = 2
		case "cgroup":
			h.version, h.controllers = 1, strings.Split(kind[2], ",")
		default:
			continue
		}
		found = append(found, h)
	}
	return found
}

// groupsIn returns the groups that the text of /proc/self/cgroup names in these hierarchies (cgroups(7)).
func groupsIn(all []hierarchy, groups string) []Group {
	var found []Group
	for _, h := range all {
		for line := range strings.Lines(groups) {
			f := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3) // 4:memory:/path, or 0::/path for version 2
			if len(f) < 3 || (f[1] == "") != (h.version == 2) {
				continue
			}
			g := Group{Version: h.version, Mount: h.mount, Root: h.root, Path: f[2]}
			if h.version == 1 {
				g.Controllers = strings.Split(f[1], ",")
				if !slices.Contains(h.controllers, g.Controllers[0]) {
					continue
				}
			}
			found = append(found, g)
			break
		}
	}
	return found
}

// unescape undoes how mountinfo writes white space and backslashes in paths.
var unescape = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)

// Has reports whether the group has a controller. A group of version 2 may have any.
func (g *Group) Has(controller string) bool {
	return g.Version == 2 || slices.Contains(g.Controllers, controller)
}

// Folder returns the folder of a place in the hierarchy. The mount may show only a part of the hierarchy. If the place is outside of that part, shown is false and
// folder is the mount point.
func (g *Group) Folder(place string) (folder string, shown bool) {
	rest, shown := strings.CutPrefix(place, strings.TrimSuffix(g.Root, "/"))
	if !shown || rest != "" && rest[0] != '/' || !filepath.IsLocal("."+rest) {
		return path.Clean(g.Mount), false
	}
	return path.Join(g.Mount, rest), true
}

// values returns the contents of files in the group's folder and in each folder above it, up to the mount point: a slice for each folder that has all of them.
func (g *Group) values(files ...string) [][]string {
	folder, _ := g.Folder(g.Path)
	var found [][]string
	for ; ; folder = path.Dir(folder) {
		var texts []string
		for _, file := range files {
			text, err := read(path.Join(folder, file))
			if err != nil {
				texts = nil
				break
			}
			texts = append(texts, strings.Fields(string(text))...)
		}
		if len(texts) > 0 {
			found = append(found, texts)
		}
		if folder == path.Clean(g.Mount) || len(folder) <= 1 {
			return found
		}
	}
}

// CPUQuota returns how many CPUs' worth of time the groups of this process allow it to use, or 0 if they set no limit.
func CPUQuota() float64 {
	least := 0.0
	groups, _ := Own() // a process that cannot read them knows no limit
	for _, g := range groups {
		files := []string{"cpu.max"}
		if g.Version == 1 {
			files = []string{"cpu.cfs_quota_us", "cpu.cfs_period_us"}
		}
		if !g.Has("cpu") {
			continue
		}
		for _, v := range g.values(files...) {
			if len(v) != 2 {
				continue
			}
			quota, err1 := strconv.ParseFloat(v[0], 64) // "max" and -1 mean no limit
			period, err2 := strconv.ParseFloat(v[1], 64)
			if err1 == nil && err2 == nil && quota > 0 && period > 0 && (least == 0 || quota/period < least) {
				least = quota / period
			}
		}
	}
	return least
}

// unlimited is the least number of bytes that means no limit: version 1 reports no limit as the largest number of pages.
const unlimited = 1 << 60

// MemoryLimit returns the least memory limit of the groups of this process in bytes, or 0 if they set none.
func MemoryLimit() int64 {
	var least int64
	groups, _ := Own() // a process that cannot read them knows no limit
	for _, g := range groups {
		file := "memory.max"
		if g.Version == 1 {
			file = "memory.limit_in_bytes"
		}
		if !g.Has("memory") {
			continue
		}
		for _, v := range g.values(file) {
			if n, err := strconv.ParseInt(v[0], 10, 64); err == nil && n < unlimited && (least == 0 || n < least) {
				least = n
			}
		}
	}
	return least
}
