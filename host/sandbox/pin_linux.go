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

// A place says where the host has a file or folder that workers know by a name without links. It is empty for what they do not have.
type place func(name string) string

// onHost is for names as the host knows them, and workers without a root of their own.
func onHost(name string) string { return name }

// shown is for names in the root of workers that have their own.
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

// seen is for names as workers know them.
func (b *Box) seen(name string) string {
	if b.spaces() {
		return b.shown(name)
	}
	return onHost(name)
}

// steady returns where the host has the file that a name leads to, with all links followed. The error says that workers could make the name
// lead somewhere else, or change the file: it is, or is looked up, in what they may change. what says in errors what the file is.
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
		if err != nil { // it is no link, or not there
			at = next
			continue
		}
		if links++; links > mostLinks {
			return "", &os.PathError{Op: "open", Path: name, Err: unix.ELOOP}
		}
		if filepath.IsAbs(link) {
			at = "/"
		}
		rest = append(strings.Split(link, "/"), rest...)
	}
	return in(at), b.changeable(what, name, in(at))
}

// changeable is an error if a file or folder of the host lies in what workers may change. Folders are compared by what they are, because
// mounts can give one of them several names.
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

// checkSteady refuses a plugin that workers could change, or its interpreter or loader. Its libraries are looked at when they are found.
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

// commonFolders are those in which loaders look for libraries (ld.so(8)), with those of Debian's multiarch.
var commonFolders = sync.OnceValue(func() []string {
	folders := []string{"/lib64", "/usr/lib64", "/lib", "/usr/lib", "/usr/local/lib"}
	for _, pattern := range []string{"/lib/*-linux-*", "/usr/lib/*-linux-*", "/usr/local/lib/*-linux-*"} {
		more, _ := filepath.Glob(pattern) // which is well formed
		folders = append(folders, more...)
	}
	return folders
})

// lookAt returns the mark of what a name leads to.
func lookAt(path string) (mark, error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return mark{}, &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer func() { _ = unix.Close(fd) }()
	return markOf(fd)
}

// hold opens a file or folder for as long as the box is there, so that no other one can have its number meanwhile, and returns its identity.
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

// pin opens the files that a worker is granted apart from binds, once for all workers: a script, and the loader of a program. Later their
// names may lead to other files, which are not granted.
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
	if p.linker == "" || b.policy.AllowFork { // then the binds are enough
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
