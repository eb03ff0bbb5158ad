package cgroup

import (
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"testing"
)

// A machine with both versions, as proc_pid_mountinfo(5) and cgroups(7) describe it.
const (
	someMounts = `22 27 0:21 / /proc rw,relatime - proc proc rw
30 24 0:26 / /sys/fs/cgroup/unified rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate
34 24 0:30 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:8 master:1 - cgroup cgroup rw,cpu,cpuacct
35 24 0:31 /docker/a\040b /mnt\040a\134b rw - cgroup cgroup rw,memory
36 24 0:32 / /sys/fs/cgroup/other rw - cgroup cgroup rw,freezer
37 24 0:33
38 24 0:34 / /x rw - cgroupfs x rw
`
	someGroups = `9:cpuacct,cpu:/job
4:memory:/docker/a b/c:d
0::/user.slice
nonsense
`
)

func TestTheGroupsOfMountedHierarchiesAreFound(t *testing.T) {
	want := []Group{
		{Version: 2, Root: "/", Mount: "/sys/fs/cgroup/unified", Path: "/user.slice"},
		{Version: 1, Root: "/", Mount: "/sys/fs/cgroup/cpu,cpuacct", Controllers: []string{"cpuacct", "cpu"}, Path: "/job"},
		{Version: 1, Root: "/docker/a b", Mount: `/mnt a\b`, Controllers: []string{"memory"}, Path: "/docker/a b/c:d"},
	}
	if got := groupsIn(hierarchies(someMounts), someGroups); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestFolderIsInsideOfTheMount(t *testing.T) {
	for _, c := range []struct {
		root, place, want string
		shown             bool
	}{
		{"/", "/", "/mnt", true},
		{"/", "/a/b", "/mnt/a/b", true},
		{"/a", "/a", "/mnt", true},
		{"/a", "/a/b", "/mnt/b", true},
		{"/a", "/ab", "/mnt", false},
		{"/a", "/b", "/mnt", false},
		{"/", "/../b", "/mnt", false}, // of a process outside of the cgroup namespace (cgroup_namespaces(7))
	} {
		g := Group{Mount: "/mnt", Root: c.root}
		if got, shown := g.Folder(c.place); got != c.want || shown != c.shown {
			t.Errorf("%s of %s: got %s, %v, want %s, %v", c.place, c.root, got, shown, c.want, c.shown)
		}
	}
}

func TestLimitsOfAllGroupsAboveCount(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("there are cgroups on Linux only")
	}
	mount := t.TempDir()
	inner := filepath.Join(mount, "outer", "inner")
	if err := os.MkdirAll(inner, 0o755); err != nil {
		t.Fatal(err)
	}
	for folder, limit := range map[string]string{filepath.Dir(mount): "1", mount: "max", filepath.Dir(inner): "4096\n", inner: "8192\n"} {
		if err := os.WriteFile(filepath.Join(folder, "memory.max"), []byte(limit), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(inner, "period"), []byte("100\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	g := Group{Mount: mount, Root: "/", Path: "/outer/inner"}
	if got, want := g.values("memory.max"), [][]string{{"8192"}, {"4096"}, {"max"}}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := g.values("memory.max", "period"), [][]string{{"8192", "100"}}; !reflect.DeepEqual(got, want) {
		t.Errorf("two files: got %q, want %q, of the only folder that has both", got, want)
	}
}
