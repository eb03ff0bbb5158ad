package launcher

import (
	"errors"
	"syscall"
	"unsafe"
)

// checkFiles refuses a plugin whose files have been replaced since the sandbox was opened. With a ruleset it does nothing, because openRuleset makes
// the same check for each rule. It is called before the user changes, because another user may not find the files.
func (l *launcher) checkFiles() error {
	if len(l.spec.Ruleset) > 0 {
		return nil
	}
	for _, g := range l.spec.Grants {
		fd, _, err := openGranted(g)
		if err != nil {
			return err
		}
		closeFD(fd)
	}
	return nil
}

// openGranted opens the file or folder of a grant and checks that it is still the same one. It returns -1 if the grant is optional and the file does
// not exist.
func openGranted(g Grant) (fd int, st syscall.Stat_t, err error) {
	fd, err = syscall.Open(g.Path, oPath|syscall.O_CLOEXEC, 0)
	if errors.Is(err, syscall.ENOENT) && g.Optional {
		return -1, st, nil
	}
	if err != nil {
		return -1, st, failed("open "+g.Path, err)
	}
	if err := syscall.Fstat(fd, &st); err != nil {
		closeFD(fd)
		return -1, st, failed("stat "+g.Path, err)
	}
	if err := same(&st, g.Dev, g.Ino); err != nil {
		closeFD(fd)
		return -1, st, failed(g.Path, err)
	}
	return fd, st, nil
}

// openRuleset creates the Landlock ruleset with its rules. It is called before the user changes, because another user may not find the granted files.
func (l *launcher) openRuleset() error {
	if len(l.spec.Ruleset) == 0 {
		return nil
	}
	fd, _, errno := syscall.RawSyscall(sysLandlockCreate, uintptr(unsafe.Pointer(&l.spec.Ruleset[0])), uintptr(len(l.spec.Ruleset)), 0)
	if errno != 0 {
		return failed("landlock_create_ruleset", errno)
	}
	l.ruleset = int(fd)
	for _, g := range l.spec.Grants {
		if err := l.grant(g); err != nil {
			return err
		}
	}
	return nil
}

func (l *launcher) grant(g Grant) error {
	fd, st, err := openGranted(g)
	if fd < 0 || err != nil {
		return err
	}
	defer closeFD(fd)
	access := g.Access
	if st.Mode&syscall.S_IFMT != syscall.S_IFDIR {
		access &= l.spec.OfFiles // Landlock refuses a rule with rights that apply only to folders
	}
	rule := pathRule{access: access, parent: int32(fd)}
	return call("landlock_add_rule "+g.Path, sysLandlockAddRule, uintptr(l.ruleset), landlockPathBeneath, uintptr(unsafe.Pointer(&rule)))
}

// The bits of securebits(7) that keep privileges from coming back, each with its lock bit.
const secureBits = 1<<0 | 1<<1 | // NOROOT
	1<<2 | 1<<3 | // NO_SETUID_FIXUP
	1<<6 | 1<<7 // NO_CAP_AMBIENT_RAISE

// dropPrivileges takes all privileges from this thread, and every way to get them back.
func (l *launcher) dropPrivileges() error {
	if !l.spec.Walls {
		return nil
	}
	if err := call("clear ambient capabilities", syscall.SYS_PRCTL, prCapAmbient, prCapAmbientClearAll); err != nil {
		return err
	}
	// Dropping capabilities from the bounding set needs CAP_SETPCAP. Without it, no_new_privs must be enough.
	for c := uintptr(0); c <= 63; c++ {
		_, _, errno := syscall.RawSyscall(syscall.SYS_PRCTL, syscall.PR_CAPBSET_DROP, c, 0)
		if errno == syscall.EPERM || errno == syscall.EINVAL {
			break // EINVAL: there are no more capabilities
		}
	}
	if uid := uintptr(l.spec.UID); l.spec.UID >= 0 {
		// The functions of package syscall would change all threads, so these are raw calls.
		if err := call("setgroups", syscall.SYS_SETGROUPS); err != nil {
			return err
		}
		if err := call("setresgid "+decimal(uint64(uid)), syscall.SYS_SETRESGID, uid, uid, uid); err != nil {
			return err
		}
		if err := call("securebits", syscall.SYS_PRCTL, syscall.PR_SET_SECUREBITS, 0); err != nil {
			return err
		}
		if err := call("setresuid "+decimal(uint64(uid)), syscall.SYS_SETRESUID, uid, uid, uid); err != nil {
			return err
		}
	}
	if err := call("securebits", syscall.SYS_PRCTL, syscall.PR_SET_SECUREBITS, secureBits); err != nil && !errors.Is(err, syscall.EPERM) {
		return err
	}
	head := capHeader{version: capabilityVersion}
	var none [2]capData
	return call("drop capabilities", syscall.SYS_CAPSET, uintptr(unsafe.Pointer(&head)), uintptr(unsafe.Pointer(&none[0])))
}

// restrict applies no_new_privs and the Landlock ruleset to this thread and to the program that it executes.
func (l *launcher) restrict() error {
	if !l.spec.Walls {
		return nil
	}
	if err := call("no_new_privs", syscall.SYS_PRCTL, prSetNoNewPrivs, 1); err != nil {
		return err
	}
	if l.ruleset < 0 {
		return nil
	}
	return call("landlock_restrict_self", sysLandlockRestrict, uintptr(l.ruleset))
}

// filter applies the seccomp filter to this thread and to the program that it executes.
func (l *launcher) filter() error {
	if len(l.spec.Filter) == 0 {
		return nil
	}
	pid := uint32(syscall.Getpid())
	own := map[uint32]uint32{
		SomePID: pid, SomeNegative: -pid,
		SomeName & word: uint32(l.name), SomeName >> 32: uint32(uint64(l.name) >> 32),
		SomeArguments & word: uint32(l.argv), SomeArguments >> 32: uint32(uint64(l.argv) >> 32),
	}
	program := make([]sockFilter, len(l.spec.Filter)/filterBytes)
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&program[0])), len(program)*filterBytes), l.spec.Filter)
	for i := range program {
		if k, ok := own[program[i].k]; ok {
			program[i].k = k
		}
	}
	head := &sockFprog{length: uint16(len(program)), filter: &program[0]}
	return call("seccomp", l.spec.Seccomp, seccompFilter, 0, uintptr(unsafe.Pointer(head)))
}

// word masks the lower 32 bits.
const word = 1<<32 - 1
