package sandbox

import (
	"math/rand/v2"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/parhost/parhost/internal/landlock"
)

// machine is what a box needs to know before it starts anything.
type machine struct {
	landlock int  // ABI
	ownUsers bool // workers can be users of their own
	users    idRange
}

// idRange is user ids from first on.
type idRange struct {
	first, count int
}

// unusedUsers are ids that systemd's registry (UIDS-GIDS.md, "Summary") gives to nobody.
var unusedUsers = idRange{first: 0x7000_0000, count: 0x1000_0000}

// look is called for each box; what can change while a process runs is what it may do.
func look() machine {
	m := machine{landlock: landlock.ABI()}
	if os.Geteuid() == 0 && capable(unix.CAP_SETUID, unix.CAP_SETGID, unix.CAP_CHOWN, unix.CAP_SYS_ADMIN) {
		m.users, m.ownUsers = spareUsers()
	}
	return m
}

// capable reports whether this thread has all of some capabilities.
func capable(wanted ...int) bool {
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var have [2]unix.CapUserData
	if unix.Capget(&head, &have[0]) != nil {
		return false
	}
	for _, c := range wanted {
		if have[c/32].Effective&(1<<(c%32)) == 0 {
			return false
		}
	}
	return true
}

// spareUsers finds ids for workers among those that this process's user namespace has (user_namespaces(7), uid_map).
func spareUsers() (idRange, bool) {
	b, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		return idRange{}, false
	}
	var best idRange
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) != 3 {
			continue
		}
		first, err1 := strconv.Atoi(f[0])
		count, err2 := strconv.Atoi(f[2])
		if err1 != nil || err2 != nil {
			continue
		}
		if first <= unusedUsers.first && first+count >= unusedUsers.first+unusedUsers.count {
			return unusedUsers, true
		}
		if count > best.count {
			best = idRange{first, count}
		}
	}
	half := best.count / 2
	return idRange{best.first + best.count - half, half}, half > 0
}

// perBox is how many ids a box has for its workers, who are of one plugin, if nobody says where they begin.
const perBox = 256

// block returns the first of the ids of a box. They are drawn: other hosts, in other containers, do not say which they have, and two that
// have the same are not at the mercy of one another (docs/SANDBOX.md).
func (m *machine) block(base int) int {
	if base > 0 || m.users.count == 0 {
		return base
	}
	return m.users.first + rand.IntN(max(1, m.users.count/perBox))*perBox
}

// user returns the id of the worker in a slot.
func (b *Box) user(slot int) int {
	if b.policy.UIDBase > 0 {
		return b.users + slot
	}
	return b.users + slot%min(perBox, b.machine.users.count)
}
