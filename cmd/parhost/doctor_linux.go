package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/parhost/parhost/internal/cgroup"
)

func kernel() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "Linux"
	}
	return "Linux " + unix.ByteSliceToString(u.Release[:])
}

// hardwareCPUs returns the number of CPUs that are online, including those that this process may not use.
func hardwareCPUs() int {
	text, err := os.ReadFile("/sys/devices/system/cpu/online")
	if n := countRanges(strings.TrimSpace(string(text))); err == nil && n > 0 {
		return n
	}
	return runtime.NumCPU()
}

// countRanges returns how many numbers a list such as "0-3,8" names, or 0 if the text is not such a list.
func countRanges(list string) int {
	n := 0
	for part := range strings.SplitSeq(list, ",") {
		from, to, several := strings.Cut(part, "-")
		if !several {
			to = from
		}
		first, err1 := strconv.Atoi(from)
		last, err2 := strconv.Atoi(to)
		if err1 != nil || err2 != nil || last < first {
			return 0
		}
		n += last - first + 1
	}
	return n
}

func readMemory() memory {
	m := memory{Limit: cgroup.MemoryLimit()}
	f, err := os.Open("/proc/meminfo")
	if err != nil {
		return m
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) < 2 {
			continue
		}
		kib, err := strconv.ParseInt(fields[1], 10, 64)
		switch {
		case err != nil:
		case fields[0] == "MemTotal:":
			m.Total = kib << 10
		case fields[0] == "MemAvailable:":
			m.Available = kib << 10
		}
	}
	if m.Limit >= m.Total {
		m.Limit = 0 // a limit above the size of the memory is no limit
	}
	return m
}

// systemFindings probes the kernel for each feature by using it.
func systemFindings() []finding {
	var list []finding
	add := func(name, use string, probe func() (string, error)) {
		found, err := probe()
		if err != nil {
			found = err.Error()
		}
		list = append(list, finding{"system", name, err == nil, found, use})
	}
	add("parent-death signal", "workers end with their host, whatever ends it", probeParentDeath)
	add("pidfd", "signals reach the process that they are for, not another that got its number; without it what workers leave behind lives on", probePidfd)
	add("memfd", "items and results of 4 KiB and more go through memory that host and worker share", probeMemfd)
	return list
}

func probeParentDeath() (string, error) {
	var signal int32
	if err := unix.Prctl(unix.PR_GET_PDEATHSIG, uintptr(unsafe.Pointer(&signal)), 0, 0, 0); err != nil {
		return "", err
	}
	return "there", nil
}

func probePidfd() (string, error) {
	fd, err := unix.PidfdOpen(os.Getpid(), 0)
	if err != nil {
		return "", missing(err, "5.3")
	}
	return "there", unix.Close(fd)
}

func probeMemfd() (string, error) {
	fd, err := unix.MemfdCreate("parhost-doctor", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return "", missing(err, "3.17")
	}
	return "there, with seals", unix.Close(fd)
}

// missing explains why a system call failed. since is the kernel version that introduced it.
func missing(err error, since string) error {
	switch {
	case errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EINVAL):
		return fmt.Errorf("not there: Linux has it since %s", since)
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return errors.New("not permitted here (container policy?)")
	}
	return err
}
