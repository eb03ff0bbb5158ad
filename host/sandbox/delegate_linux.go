package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/parhost/parhost/internal/cgroup"
	"github.com/parhost/parhost/internal/procfile"
)

// hierarchy is one mounted cgroup hierarchy, and the folder in it below which a box makes its own folders.
type hierarchy struct {
	version     int
	controllers []string // those of memory, pids and cpu that can be used
	mount       string   // mount point
	parent      string
	err         error // why the hierarchy cannot be used; nil if it can
}

// hierarchies finds the mounted cgroup hierarchies and the host's folder in each. below is Policy.CgroupParent.
func hierarchies(below string) ([]hierarchy, error) {
	groups, err := cgroup.Own()
	if err != nil {
		return nil, err
	}
	var found []hierarchy
	for _, g := range groups {
		h := hierarchy{version: g.Version, mount: g.Mount}
		if h.version == 1 {
			for _, c := range []string{memory, pids, cpu} {
				if g.Has(c) {
					h.controllers = append(h.controllers, c)
				}
			}
			if len(h.controllers) == 0 {
				continue
			}
		}
		if h.parent = filepath.Join(g.Mount, below); below == "" {
			place := g.Path
			if h.version == 2 {
				place = strings.TrimSuffix(place, "/"+hostFolder) // the workers of the host's other boxes are beside hostFolder
			}
			parent, shown := g.Folder(place)
			if h.parent = parent; !shown {
				h.err = fmt.Errorf("%s does not show the cgroup of this process, %s", g.Mount, g.Path)
			}
		}
		if h.err == nil && unix.Access(h.parent, unix.W_OK) != nil {
			h.err = fmt.Errorf("%s cannot be written to", h.parent)
		}
		if h.version == 2 {
			h.controllers = delegated(h.parent)
		}
		found = append(found, h)
	}
	return found, nil
}

// delegated returns those of the needed controllers that a folder of version 2 can pass on to its children.
func delegated(folder string) []string {
	b, err := procfile.Read(filepath.Join(folder, "cgroup.controllers"))
	if err != nil {
		return nil
	}
	return slices.DeleteFunc(strings.Fields(string(b)), func(c string) bool { return c != memory && c != pids && c != cpu })
}

// hostFolder is the folder into which a host moves itself if it blocks the cgroups of its own workers.
const hostFolder = "parhost-host"

// passOn enables controllers for the children of a version 2 folder. Such a folder must not hold processes itself (cgroups(7), "no internal
// processes" rule). So if only this host's processes are there, passOn moves them to a folder below it.
func passOn(folder string, controllers []string) error {
	missing := slices.DeleteFunc(slices.Clone(controllers), func(c string) bool { return passes(folder, c) })
	if len(missing) == 0 {
		return nil
	}
	control, order := filepath.Join(folder, "cgroup.subtree_control"), []byte("+"+strings.Join(missing, " +"))
	err := os.WriteFile(control, order, 0)
	if !errors.Is(err, unix.EBUSY) {
		return err
	}
	if err := vacate(folder); err != nil {
		return err
	}
	return os.WriteFile(control, order, 0)
}

// passes reports whether a version 2 folder passes on a controller to its children.
func passes(folder, controller string) bool {
	b, err := os.ReadFile(filepath.Join(folder, "cgroup.subtree_control"))
	return err == nil && slices.Contains(strings.Fields(string(b)), controller)
}

// passable returns the error that passOn would return, without changing anything.
func passable(folder, controller string) error {
	if passes(folder, controller) {
		return nil
	}
	if _, err := os.Stat(filepath.Join(folder, "cgroup.type")); errors.Is(err, fs.ErrNotExist) {
		return nil // the root cgroup may hold processes
	}
	_, err := inhabitants(folder)
	return err
}

// inhabitants returns the processes in a folder. It returns an error if one of them is neither this process nor a descendant of it: the host must not
// move processes of others.
func inhabitants(folder string) ([]int, error) {
	b, err := os.ReadFile(filepath.Join(folder, "cgroup.procs"))
	if err != nil {
		return nil, err
	}
	var all []int
	for word := range strings.FieldsSeq(string(b)) {
		pid, err := strconv.Atoi(word)
		if err != nil {
			return nil, err
		}
		if !descends(pid) {
			return nil, fmt.Errorf("%s holds a process that is not of this host, %d: %w", folder, pid, unix.EBUSY)
		}
		all = append(all, pid)
	}
	return all, nil
}

// descends reports whether a process is this one, a descendant of it, or gone.
func descends(pid int) bool {
	for pid > 1 {
		if pid == os.Getpid() {
			return true
		}
		_, parent, err := stat(pid, parentField)
		if err != nil {
			return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH)
		}
		pid = int(parent)
	}
	return pid == os.Getpid() // a parent of 0 is outside of this PID namespace
}

// vacateRounds limits how often vacate looks for processes that are left, because they were just being started.
const vacateRounds = 10

// vacate moves all processes of a folder to a folder below it. The processes do not notice.
func vacate(folder string) error {
	leaf := filepath.Join(folder, hostFolder)
	for range vacateRounds {
		all, err := inhabitants(folder)
		if err != nil || len(all) == 0 {
			return err
		}
		if err := os.Mkdir(leaf, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		for _, pid := range all {
			err := os.WriteFile(filepath.Join(leaf, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0)
			if err != nil && !errors.Is(err, unix.ESRCH) {
				return err
			}
		}
	}
	return nil // if processes are left, the caller's write fails
}

// cgroupHint returns advice on how to make a limit enforceable.
func cgroupHint(err error) string {
	if errors.Is(err, unix.EBUSY) { // for example because the shell of a session is in the same cgroup
		return "start the host in a cgroup of its own: systemd-run --scope -p Delegate=yes, with --user if it is not root"
	}
	return "run the host as root, or with: systemd-run --user --scope -p Delegate=yes"
}
