package sandbox

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// boxPrefix is the prefix of the names of a box's folders.
const boxPrefix = "parhost-box-"

// boxName returns a unique name for a box, made of this process's PID namespace, pid, start time and a number. No other process has the same name,
// not even one in another container.
func boxName(number uint64) (string, error) {
	_, start, err := stat(os.Getpid(), startField)
	if err != nil {
		return "", err
	}
	space, err := pidSpace()
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s%x-%x-%x-%x", boxPrefix, space, os.Getpid(), start, number), nil
}

// pidSpace returns the inode number of this process's PID namespace.
func pidSpace() (uint64, error) {
	var st unix.Stat_t
	if err := unix.Stat("/proc/self/ns/pid", &st); err != nil {
		return 0, &os.PathError{Op: "stat", Path: "/proc/self/ns/pid", Err: err}
	}
	return st.Ino, nil
}

// Field numbers of proc_pid_stat(5).
const (
	parentField = 4
	startField  = 22 // start time in clock ticks since boot
)

// zombie is the state of a process that has ended but has not been reaped.
const zombie = "Z"

// stat returns the state and one numeric field of /proc/PID/stat.
func stat(pid, field int) (state string, number uint64, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", 0, err
	}
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:])) // the second field, the name, may contain any character
	if len(fields) < field-2 {
		return "", 0, fmt.Errorf("/proc/%d/stat: %d fields after the name, want %d", pid, len(fields), field-2)
	}
	number, err = strconv.ParseUint(fields[field-3], 10, 64)
	return fields[0], number, err
}

// sweepCgroups removes the cgroups that killed hosts left behind, and kills the processes in them. What is left after the deadline is removed by the
// next host.
func sweepCgroups(parent string, deadline time.Time) {
	var folders []string
	boxes, _ := filepath.Glob(filepath.Join(parent, boxPrefix+"*")) // the pattern is well formed
	for _, box := range boxes {
		if !orphaned(filepath.Base(box)) {
			continue
		}
		workers, _ := os.ReadDir(box)
		for _, w := range workers {
			if w.IsDir() {
				folders = append(folders, filepath.Join(box, w.Name()))
			}
		}
		folders = append(folders, box)
	}
	removeCgroups(deadline, folders...)
}

// orphaned reports whether name belongs to a box whose host ran in this PID namespace and is gone.
func orphaned(name string) bool {
	var space, start, number uint64
	var pid int
	if n, err := fmt.Sscanf(name, boxPrefix+"%x-%x-%x-%x", &space, &pid, &start, &number); n != 4 || err != nil {
		return false
	}
	if ours, err := pidSpace(); err != nil || ours != space {
		return false
	}
	state, now, err := stat(pid, startField)
	return errors.Is(err, fs.ErrNotExist) || err == nil && (now != start || state == zombie) // a zombie is gone too: its parent may never wait for it
}
