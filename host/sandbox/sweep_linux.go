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

// boxPrefix is what the names of a box's folders begin with.
const boxPrefix = "parhost-box-"

// boxName names a box after this process: after what it is not to be taken for another, in no other container either.
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

// pidSpace is the number of this process's namespace of process ids.
func pidSpace() (uint64, error) {
	var st unix.Stat_t
	if err := unix.Stat("/proc/self/ns/pid", &st); err != nil {
		return 0, &os.PathError{Op: "stat", Path: "/proc/self/ns/pid", Err: err}
	}
	return st.Ino, nil
}

// Fields of proc_pid_stat(5), by their numbers there.
const (
	parentField = 4
	startField  = 22 // in ticks since the machine was started
)

// zombie is the state of a process that has ended but has not been waited for.
const zombie = "Z"

// stat reads the state and one number of what the kernel says about a process.
func stat(pid, field int) (state string, number uint64, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", 0, err
	}
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:])) // the name, which is the second, may hold anything
	if len(fields) < field-2 {
		return "", 0, fmt.Errorf("/proc/%d/stat: %d fields after the name, want %d", pid, len(fields), field-2)
	}
	number, err = strconv.ParseUint(fields[field-3], 10, 64)
	return fields[0], number, err
}

// sweepCgroups removes what hosts left behind that were killed, with the processes in it. What is left after the deadline is for the next host.
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

// orphaned reports whether a name is that of a box whose host was of this namespace and is gone.
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
	return errors.Is(err, fs.ErrNotExist) || err == nil && (now != start || state == zombie) // nobody may ever ask how that ended
}
