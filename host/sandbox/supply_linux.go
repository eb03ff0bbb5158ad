package sandbox

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/parhost/parhost/internal/procfile"
)

// supply is a limit on processes and threads, and how many of them are in use.
type supply struct {
	what       string // names the limit
	most, used int64
}

// Threads that workers must leave to the host, which crashes if it cannot start one. Some threads belong to the Go runtime. Others wait for a worker,
// or belong to a launcher that has no limit yet.
const (
	hostThreads   = 32
	workerThreads = 4
)

// sharePIDs sets how many processes and threads each worker may have, so that all workers together leave enough to the host. If the policy names a
// number, sharePIDs uses it, and refuses it if too few are free. Otherwise it uses [DefaultPIDs], or the worker's share of half of what is free if
// that is less. The other half is for processes that start later, such as another pool. counted says that a cgroup counts processes, ownUser that
// setrlimit(2) can.
func (b *Box) sharePIDs(counted, ownUser bool) error {
	p := &b.policy
	wanted := int64(p.PIDs)
	if wanted == 0 {
		wanted = DefaultPIDs
	}
	workers := int64(max(1, p.Workers))
	reserve := b.reservePIDs()
	below := ""
	if counted {
		below = p.CgroupParent
	}
	supplies, err := b.supplies(below, wanted*workers+reserve)
	if err != nil {
		return err
	}
	limit := wanted
	for _, s := range supplies {
		free := s.most - s.used - reserve
		if p.PIDs > 0 && wanted*workers > free {
			return fmt.Errorf("limit of %d processes and threads for each of %d workers: %s allows %d, of which %d are there and %d are the host's reserve (Policy.PIDs)", wanted, workers, s.what, s.most, s.used, reserve)
		}
		if share := max(0, free) / 2 / workers; p.PIDs == 0 && share < limit {
			limit, b.shared = share, s.what
			if share < leastPIDs {
				return fmt.Errorf("%s allows %d processes and threads, of which %d are there and %d are the host's reserve: too few for %d workers, which need %d each and leave as many to others", s.what, s.most, s.used, reserve, workers, leastPIDs)
			}
		}
	}
	if ownUser && !counted { // a process cannot raise its hard limit
		var most unix.Rlimit
		if err := unix.Getrlimit(unix.RLIMIT_NPROC, &most); err != nil {
			return os.NewSyscallError("getrlimit", err)
		}
		if most.Max < uint64(limit) {
			if p.PIDs > 0 || most.Max < leastPIDs {
				return fmt.Errorf("limit of %d processes and threads: the hard limit (ulimit -Hu) is %d (Policy.PIDs)", limit, most.Max)
			}
			limit, b.shared = int64(most.Max), "ulimit -Hu"
		}
	}
	p.PIDs = int(limit)
	return nil
}

// supplies returns the limits that the host and its workers share. For the user's limit, the number in use is exact if fewer than wanted may be free;
// otherwise it is an upper bound.
func (b *Box) supplies(below string, wanted int64) ([]supply, error) {
	found, err := cgroupSupplies(below)
	if err != nil {
		return nil, err
	}
	all := threadsOfAll()
	for _, name := range []string{"threads-max", "pid_max"} {
		if most, err := readNumber("/proc/sys/kernel/" + name); err == nil {
			found = append(found, supply{"kernel." + name, most, all})
		}
	}
	if b.machine.ownUsers {
		return found, nil
	}
	return withUser(found, wanted)
}

// withUser adds the limit of this process's user, if there is one. It counts the user's threads only if the threads of all users leave fewer than
// wanted.
func withUser(found []supply, wanted int64) ([]supply, error) {
	most, counts := userLimit()
	if !counts {
		return found, nil
	}
	used := threadsOfAll() // an upper bound: the threads of all users
	if most-used < wanted {
		var err error
		if used, err = threadsOf(os.Getuid()); err != nil {
			return nil, err
		}
	}
	return append(found, supply{"the user's limit (ulimit -u)", most, used}), nil
}

// ScarcestTasks returns the limit that leaves the fewest processes and threads to the user and the cgroup of this process. It returns false if every
// limit leaves at least wanted. It does not look at the limits of the whole machine.
func ScarcestTasks(wanted int) (Tasks, bool) {
	found, err := cgroupSupplies("")
	if err != nil {
		found = nil // without /proc or cgroups only the user's limit can be known
	}
	if all, err := withUser(found, int64(wanted)); err == nil {
		found = all
	}
	scarcest, scarce := Tasks{}, false
	for _, s := range found {
		t := Tasks{Limit: s.what, Most: int(s.most), Used: int(s.used)}
		if t.Free() < wanted && (!scarce || t.Free() < scarcest.Free()) {
			scarcest, scarce = t, true
		}
	}
	return scarcest, scarce
}

// cgroupSupplies returns the process limit and use of each cgroup that holds the workers, and of each visible ancestor of it.
func cgroupSupplies(below string) ([]supply, error) {
	all, err := hierarchies(below)
	if err != nil {
		return nil, err
	}
	var found []supply
	for _, h := range all {
		if h.version == 1 && !slices.Contains(h.controllers, pids) {
			continue
		}
		for folder := h.parent; within(folder, h.mount); folder = filepath.Dir(folder) {
			file := filepath.Join(folder, "pids.max")
			if most, err := readNumber(file); err == nil { // the word max means no limit and does not parse
				if used, err := readNumber(filepath.Join(folder, "pids.current")); err == nil {
					found = append(found, supply{file, most, used})
				}
			}
			if folder == "/" {
				break
			}
		}
	}
	return found, nil
}

func readNumber(file string) (int64, error) {
	text, err := procfile.Read(file)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
}

// threadsOfAll returns how many threads the machine has (proc_loadavg(5)), or 0 if that is unknown.
func threadsOfAll() int64 {
	text, err := procfile.Read("/proc/loadavg")
	if err != nil {
		return 0
	}
	var ignored float64
	var running, all int64
	if _, err := fmt.Sscanf(string(text), "%f %f %f %d/%d", &ignored, &ignored, &ignored, &running, &all); err != nil {
		return 0
	}
	return all
}

// userLimit returns how many processes and threads this process's user may have, and whether there is such a limit. Root outside of user namespaces
// has none (kernel/fork.c, copy_process).
func userLimit() (most int64, counts bool) {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NPROC, &limit) != nil || limit.Cur > math.MaxInt32 {
		return 0, false
	}
	if os.Getuid() == 0 {
		ids, err := procfile.Read("/proc/self/uid_map")
		if err == nil && slices.Equal(strings.Fields(string(ids)), []string{"0", "0", "4294967295"}) {
			return 0, false
		}
	}
	return int64(limit.Cur), true
}

// threadsOf counts the threads of a user that /proc shows.
func threadsOf(uid int) (int64, error) {
	folder, err := os.Open("/proc")
	if err != nil {
		return 0, err
	}
	defer folder.Close()
	names, err := folder.Readdirnames(-1)
	if err != nil {
		return 0, err
	}
	var all int64
	for _, name := range names {
		if name[0] < '0' || name[0] > '9' {
			continue
		}
		text, err := procfile.Read("/proc/" + name + "/status")
		if err != nil {
			continue // the process has ended
		}
		var threads int64
		owner := -1
		for line := range strings.Lines(string(text)) {
			key, value, _ := strings.Cut(line, ":")
			switch f := strings.Fields(value); {
			case key == "Uid" && len(f) > 0:
				owner, err = strconv.Atoi(f[0])
			case key == "Threads" && len(f) > 0:
				threads, err = strconv.ParseInt(f[0], 10, 64)
			}
			if err != nil {
				return 0, fmt.Errorf("status of process %s: %w", name, err)
			}
		}
		if owner == uid {
			all += threads
		}
	}
	return all, nil
}

// limitPIDs chooses what limits the number of a worker's processes and threads, and sets that number. refused says why no cgroup can limit it, and is
// nil if one can. ownUser says that each worker has a user of its own, so the kernel can count by user.
func (b *Box) limitPIDs(refused error, ownUser bool) error {
	p := &b.policy
	if p.PIDs > 0 && refused != nil && !ownUser {
		return b.failed("cgroup", fmt.Errorf("Policy.PIDs is %d, which takes a cgroup that the host may write to: %w", p.PIDs, refused))
	}
	if refused == nil || ownUser {
		if err := b.sharePIDs(refused == nil, ownUser); err != nil {
			return b.failed("processes", err)
		}
		if refused != nil {
			b.limitTo(unix.RLIMIT_NPROC, uint64(p.PIDs))
		}
		return nil
	}
	// Nothing counts the processes of one worker alone. But if the kernel counts all processes of the user, a lower limit refuses them to workers
	// before it refuses them to the host.
	if most, counts := userLimit(); counts {
		b.limitTo(unix.RLIMIT_NPROC, uint64(max(leastPIDs, most-b.reservePIDs())))
	}
	return nil
}

// reservePIDs returns how many processes and threads workers must leave to their host.
func (b *Box) reservePIDs() int64 {
	return hostThreads + int64(runtime.GOMAXPROCS(0)) + workerThreads*int64(max(1, b.policy.Workers))
}
