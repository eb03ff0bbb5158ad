package sandbox

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/parhost/parhost/host/sandbox/internal/launcher"
)

// A place maps a path without links, as workers know it, to the path of that file on the host. It returns empty for a path that workers do not have.
type place func(name string) string

// onHost is the place for the host's own paths, and for workers without a private root.
func onHost(name string) string { return name }

// shown is the place for workers with a private root. It finds the host path by the innermost bind that contains the name.
func (b *Box) shown(name string) string {
	host, longest := "", -1
	for _, m := range b.binds {
		if within(name, m.Target) && len(m.Target) > longest {
			longest = len(m.Target)
			host = filepath.Join(really(m.Source), strings.TrimPrefix(name, m.Target))
		}
	}
	return host
}

// seen is the place for paths as the workers of this box know them.
func (b *Box) seen(name string) string {
	if b.spaces() {
		return b.shown(name)
	}
	return onHost(name)
}

// steady follows all links of a name and returns the host path of the file that it leads to. It returns an error if workers could change the file, or
// a folder on the way and so what the name leads to. what describes the file in errors.
func (b *Box) steady(what, name string, in place) (string, error) {
	at, links := "/", 0
	rest := strings.Split(name, "/")
	for len(rest) > 0 {
		part := rest[0]
		rest = rest[1:]
		switch part {
		case "", ".":
			continue
		case "..":
			at = filepath.Dir(at)
			continue
		}
		if err := b.changeable(what, name, in(at)); err != nil {
			return "", err
		}
		next := filepath.Join(at, part)
		link, err := os.Readlink(in(next))
		if err != nil { // it is not a link, or is missing
			at = next
			continue
		}
		if links++; links > maxLinks {
			return "", &os.PathError{Op: "open", Path: name, Err: unix.ELOOP}
		}
		if filepath.IsAbs(link) {
			at = "/"
		}
		rest = append(strings.Split(link, "/"), rest...)
	}
	return in(at), b.changeable(what, name, in(at))
}

// changeable returns an error if a host file or folder lies in a bind that workers may write to. Folders are compared by device and inode, because
// mounts can give one folder several names.
func (b *Box) changeable(what, name, host string) error {
	if !filepath.IsAbs(host) || len(b.policy.ReadWrite) == 0 {
		return nil
	}
	for ; ; host = filepath.Dir(host) {
		if dev, ino, err := identity(host); err == nil {
			i := slices.IndexFunc(b.binds, func(m launcher.Mount) bool { return m.Write && m.Dev == dev && m.Ino == ino })
			if i >= 0 {
				return changeableError(what, name, b.binds[i].Source)
			}
		}
		if host == "/" {
			return nil
		}
	}
}

// checkSteady refuses a plugin if workers could change it, its interpreter or its loader. Its libraries are checked later, when load finds them.
func (b *Box) checkSteady() error {
	p := b.program
	if len(b.policy.ReadWrite) == 0 {
		return nil
	}
	names := []place{onHost}
	if p.script() {
		names = append(names, b.seen)
	}
	for _, in := range names {
		if _, err := b.steady("the plugin", p.path, in); err != nil {
			return err
		}
	}
	if p.linker == "" {
		return nil
	}
	_, err := b.steady("the plugin's interpreter or loader", p.linker, b.seen)
	return err
}

// commonFolders returns the folders in which loaders look for libraries (ld.so(8)), including Debian's multiarch folders.
var commonFolders = sync.OnceValue(func() []string {
	folders := []string{"/lib64", "/usr/lib64", "/lib", "/usr/lib", "/usr/local/lib"}
	for _, pattern := range []string{"/lib/*-linux-*", "/usr/lib/*-linux-*", "/usr/local/lib/*-linux-*"} {
		more, _ := filepath.Glob(pattern) // the pattern is well formed
		folders = append(folders, more...)
	}
	return folders
})

// lookAt returns the mark of the file that a name leads to.
func lookAt(path string) (mark, error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return mark{}, &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer func() { _ = unix.Close(fd) }()
	return markOf(fd)
}

// hold opens a file or folder until the box is closed, so that its inode number is not reused meanwhile. It returns the file's device and inode.
func (b *Box) hold(path string) (f *os.File, dev, ino uint64, err error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, 0, 0, &os.PathError{Op: "open", Path: path, Err: err}
	}
	f = os.NewFile(uintptr(fd), path)
	b.held = append(b.held, f)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, 0, 0, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	return f, st.Dev, st.Ino, nil
}

// pin opens the files to which workers get access in addition to the binds: a script, or the loader of a program. It does so once for all workers,
// and grants access to these inodes only. A name that later leads to another file grants nothing.
func (b *Box) pin() error {
	p := b.program
	if p.script() {
		file, err := b.steady("the plugin", p.path, b.seen)
		if err != nil {
			return err
		}
		_, dev, ino, err := b.hold(file)
		if err != nil {
			return err
		}
		if dev != p.dev || ino != p.ino {
			return fmt.Errorf("%s: workers would run another file than the one that was read", p.path)
		}
		b.grants = append(b.grants, launcher.Grant{Path: p.path, Access: landRun, Dev: dev, Ino: ino})
		return nil
	}
	if p.linker == "" || b.policy.AllowFork { // it has no loader, or the binds already allow it
		return nil
	}
	file, err := b.steady("the plugin's loader", p.linker, b.seen)
	if err != nil {
		return err
	}
	f, dev, ino, err := b.hold(file)
	if err != nil {
		return err
	}
	if !b.spaces() {
		really, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(int(f.Fd())))
		if err != nil {
			return err
		}
		if !b.started && !opens(&b.policy, really) {
			return fmt.Errorf("%s: its loader %s lies elsewhere than a moment ago", p.path, p.linker)
		}
	}
	b.grants = append(b.grants, launcher.Grant{Path: p.linker, Access: landRun, Dev: dev, Ino: ino})
	return nil
}
