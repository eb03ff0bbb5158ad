package sandbox

import (
	"math/rand/v2"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/parhost/parhost/internal/landlock"
)

// machine is what a box must know about this machine and process before it starts anything.
type machine struct {
	landlock int  // ABI version, 0 for none
	ownUsers bool // workers can run as users of their own
	users    idRange
}

// idRange is count user ids, starting at first.
type idRange struct {
	first, count int
}

// unusedUsers are ids that systemd's registry (UIDS-GIDS.md, "Summary") assigns to nobody.
var unusedUsers = idRange{first: 0x7000_0000, count: 0x1000_0000}

// look examines the machine. It is called for each box, because the capabilities of this process can change while it runs.
func look() machine {
	m := machine{landlock: landlock.ABI()}
	if os.Geteuid() == 0 && capable(unix.CAP_SETUID, unix.CAP_SETGID, unix.CAP_CHOWN, unix.CAP_SYS_ADMIN) {
		m.users, m.ownUsers = spareUsers()
	}
	return m
}

// capable reports whether this thread has all the wanted capabilities.
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

// spareUsers chooses ids for workers among those in this process's user namespace (user_namespaces(7), uid_map).
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

// perBox is how many ids a box has for its workers if UIDBase is 0. The workers of a box all run the same plugin.
const perBox = 256

// block returns the first id of a box. It is random, because hosts in other containers do not tell which ids they use. Two boxes with the same ids
// are still protected from each other (docs/SANDBOX.md).
func (m *machine) block(base int) int {
	if base > 0 || m.users.count == 0 {
		return base
	}
	return m.users.first + rand.IntN(max(1, m.users.count/perBox))*perBox
}

// user returns the user id of the worker in a slot.
func (b *Box) user(slot int) int {
	if b.policy.UIDBase > 0 {
		return b.users + slot
	}
	return b.users + slot%min(perBox, b.machine.users.count)
}
