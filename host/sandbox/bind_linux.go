package sandbox

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/parhost/parhost/host/sandbox/internal/launcher"
)

// openBinds opens the files and folders that the policy names. Each worker gets exactly these or does not start: a name may lead to something else by
// then, because a worker has changed it.
func (b *Box) openBinds() error {
	p := &b.policy
	writable := map[string]string{} // real paths of writable folders, with their names in errors
	for i, bind := range p.ReadWrite {
		really, err := filepath.EvalSymlinks(bind.Source)
		if err != nil {
			return fmt.Errorf("sandbox: %w (Policy.ReadWrite[%d])", err, i)
		}
		writable[really] = fmt.Sprintf("%q, which workers may change (Policy.ReadWrite[%d])", bind.Source, i)
	}
	for _, list := range []struct {
		field string
		binds []Bind
		write bool
	}{{"ReadOnly", p.ReadOnly, false}, {"ReadWrite", p.ReadWrite, true}} {
		for i, bind := range list.binds {
			where := fmt.Sprintf("Policy.%s[%d]", list.field, i)
			really, err := filepath.EvalSymlinks(bind.Source)
			if err != nil {
				return fmt.Errorf("sandbox: %w (%s)", err, where)
			}
			for folder, called := range writable {
				if beneath(really, folder) || really == folder && !list.write {
					return fmt.Errorf("sandbox: %q lies in %s: name what is not in it (%s)", bind.Source, called, where)
				}
			}
			m := launcher.Mount{Source: bind.Source, Target: bind.Target, FD: -1, Write: list.write}
			if _, m.Dev, m.Ino, err = b.hold(bind.Source); err != nil {
				return fmt.Errorf("sandbox: %w (%s)", err, where)
			}
			b.binds = append(b.binds, m)
		}
	}
	return b.checkTargets()
}

// checkTargets refuses to show a file inside a folder in which workers can change names.
func (b *Box) checkTargets() error {
	for _, inner := range b.binds {
		for _, outer := range b.binds {
			if b.spaces() && outer.Write && beneath(inner.Target, outer.Target) {
				return fmt.Errorf("sandbox: %q would be shown in %q, which workers may change: show it elsewhere (Policy.ReadOnly, Policy.ReadWrite)", inner.Target, outer.Target)
			}
		}
	}
	return nil
}

// checkSockets refuses a policy that lets workers change a folder in which sockets lie, including sockets of other pools. Otherwise a worker could
// replace a socket, and a host would connect to the replacement. A worker could also replace the socket folder, and the replacement would be opened
// to workers. Workers with users of their own may change an outer folder in which they can make files but cannot rename the files of others, such as
// /tmp.
func (b *Box) checkSockets() error {
	for i, bind := range b.policy.ReadWrite {
		really, err := filepath.EvalSymlinks(bind.Source)
		if err != nil {
			return fmt.Errorf("sandbox: %w (Policy.ReadWrite[%d])", err, i)
		}
		for _, place := range []string{b.policy.TempDir, os.TempDir(), "/tmp"} {
			place, err := filepath.EvalSymlinks(place)
			if err != nil || !within(place, really) || b.machine.ownUsers && keeps(place, really) {
				continue
			}
			return fmt.Errorf("sandbox: %q holds the sockets of workers, in %q: name a folder of its own below that (Policy.ReadWrite[%d])", bind.Source, place, i)
		}
	}
	return nil
}

// keeps reports whether no other user can rename anything on the path from folder down to place.
func keeps(place, folder string) bool {
	for ; within(place, folder); place = filepath.Dir(place) {
		var st unix.Stat_t
		if err := unix.Stat(place, &st); err != nil {
			return false
		}
		if int(st.Uid) != os.Geteuid() || st.Mode&0o022 != 0 && st.Mode&unix.S_ISVTX == 0 {
			return false
		}
		if place == "/" {
			break
		}
	}
	return true
}

// beneath reports whether a file lies below a folder, at any depth.
func beneath(file, folder string) bool {
	return file != folder && strings.HasPrefix(file, strings.TrimSuffix(folder, "/")+"/")
}

// within reports whether a path is a folder, or lies below it.
func within(file, folder string) bool { return file == folder || beneath(file, folder) }

// identity returns the device and inode of a file. No other existing file has the same pair.
func identity(path string) (dev, ino uint64, err error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, 0, &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer func() { _ = unix.Close(fd) }()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return 0, 0, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	return st.Dev, st.Ino, nil
}
