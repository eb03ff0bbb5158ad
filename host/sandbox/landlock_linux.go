package sandbox

import (
	"encoding/binary"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/parhost/parhost/host/sandbox/internal/launcher"
)

// rulesetAttr is struct landlock_ruleset_attr as of ABI 6. An older kernel accepts it as long as the fields that it does not know are zero.
type rulesetAttr struct {
	fs, net, scoped uint64
}

// Access rights that a rule can grant.
const (
	landRead    = unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_READ_DIR
	landRun     = landRead | unix.LANDLOCK_ACCESS_FS_EXECUTE
	landSocket  = landRead | unix.LANDLOCK_ACCESS_FS_MAKE_SOCK | unix.LANDLOCK_ACCESS_FS_REMOVE_FILE | unix.LANDLOCK_ACCESS_FS_MAKE_REG | unix.LANDLOCK_ACCESS_FS_WRITE_FILE // go-plugin creates a file to find a free name
	landDevice  = unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_WRITE_FILE
	landChange  = landSocket | unix.LANDLOCK_ACCESS_FS_TRUNCATE | unix.LANDLOCK_ACCESS_FS_REMOVE_DIR | unix.LANDLOCK_ACCESS_FS_MAKE_DIR | unix.LANDLOCK_ACCESS_FS_MAKE_SYM | unix.LANDLOCK_ACCESS_FS_REFER
	landOfFiles = landDevice | unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_TRUNCATE | unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
)

// handled returns every access right that an ABI version can forbid (include/uapi/linux/landlock.h): bits 0 to 12 since ABI 1, REFER since 2,
// TRUNCATE since 3, TCP since 4, IOCTL_DEV since 5, signals and abstract sockets since 6, unix sockets by path since 9, UDP since 10. With net it
// leaves TCP and UDP allowed.
func handled(abi int, net bool) (attr rulesetAttr, size uintptr) {
	attr.fs = 1<<13 - 1
	size = unsafe.Offsetof(attr.net)
	if abi >= 2 {
		attr.fs |= unix.LANDLOCK_ACCESS_FS_REFER
	}
	if abi >= 3 {
		attr.fs |= unix.LANDLOCK_ACCESS_FS_TRUNCATE
	}
	if abi >= 4 {
		size = unsafe.Offsetof(attr.scoped)
		if !net {
			attr.net = unix.LANDLOCK_ACCESS_NET_BIND_TCP | unix.LANDLOCK_ACCESS_NET_CONNECT_TCP
		}
	}
	if abi >= 5 {
		attr.fs |= unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
	}
	if abi >= 6 {
		size = unsafe.Sizeof(attr)
		attr.scoped = unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET | unix.LANDLOCK_SCOPE_SIGNAL
	}
	if abi >= 9 {
		attr.fs |= unix.LANDLOCK_ACCESS_FS_RESOLVE_UNIX
	}
	if abi >= 10 && !net {
		attr.net |= unix.LANDLOCK_ACCESS_NET_BIND_UDP | unix.LANDLOCK_ACCESS_NET_CONNECT_SEND_UDP
	}
	return attr, size
}

// devices are the files of /dev that a plugin may use.
var devices = []string{"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"}

// restrict makes the launcher forbid everything that this version of Landlock can forbid, except what the plugin needs.
func (b *Box) restrict(s *launcher.Spec) {
	abi := b.landlock()
	if abi == 0 {
		s.Grants = b.grants // the launcher checks that they are still the files that were opened
		return
	}
	attr, size := handled(abi, b.policy.AllowNet)
	for _, word := range []uint64{attr.fs, attr.net, attr.scoped} {
		s.Ruleset = binary.NativeEndian.AppendUint64(s.Ruleset, word)
	}
	s.Ruleset, s.OfFiles = s.Ruleset[:size], landOfFiles
	grant := func(path string, access uint64, optional bool) {
		s.Grants = append(s.Grants, launcher.Grant{Path: path, Access: access & attr.fs, Optional: optional})
	}
	grant(s.Sockets, landSocket, false)
	for _, d := range devices {
		grant(d, landDevice, true)
	}
	if s.Spaces {
		grant("/tmp", landChange, false)
	}
	readOnly := uint64(landRead)
	if s.Exec < 0 || b.policy.AllowFork { // the interpreter of a script must be executable, and another program may look it up
		readOnly = landRun
	}
	for _, g := range b.grants {
		g.Access &= attr.fs
		s.Grants = append(s.Grants, g)
	}
	for _, m := range s.Mounts {
		access := readOnly
		if m.Write {
			access = landChange
		}
		s.Grants = append(s.Grants, launcher.Grant{Path: m.Target, Access: access & attr.fs, Dev: m.Dev, Ino: m.Ino})
	}
}
