package sandbox

import (
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/parhost/parhost/host/sandbox/internal/dynamic"
	"github.com/parhost/parhost/host/sandbox/internal/launcher"
	"github.com/parhost/parhost/internal/plain"
)

// The files that a program's loader opens before the program's first instruction are part of the program: the loader, and the libraries that the
// program and its libraries name. They are found here by the loader's rules, and opened to workers one by one. The file that names them may be hostile.
// So only ELF libraries are opened, and by a host that is root only those that every user may read.

// loading finds the files that a program's loader opens.
type loading struct {
	box    *Box
	musl   bool
	cache  []byte   // of glibc's loader
	usual  []string // the folders in which the loader looks last
	asked  map[string]bool
	opened map[string]bool // names
	left   []object
	looks  int
}

// object is a program or library whose libraries are still to be found.
type object struct {
	*dynamic.Image
	origin  string   // its folder
	folders []string // of the RPATH of those that have loaded it
}

// A program may be loaded from so many files, and have the host look in so many places for them.
const (
	mostLoaded = 256
	mostLooks  = 1 << 15
)

// load finds what starts the program and what is loaded with it, and opens that to workers. What is not found, or cannot be opened to them, the loader
// is going to miss, and to name.
func (b *Box) load() error {
	p := b.program
	if p.linker == "" || !filepath.IsAbs(p.linker) || p.script() && !b.startsAlone() {
		return nil
	}
	w := &loading{box: b, asked: map[string]bool{}, opened: map[string]bool{}}
	if p.script() {
		starter, err := w.take("the plugin's interpreter", p.linker, func(*dynamic.Image) bool { return true })
		if starter == nil || err != nil {
			return err
		}
		b.started, starter.origin = true, p.origin()
		if w.left = []object{*starter}; starter.Interpreter == "" {
			return nil
		}
		if err := w.loader(starter.Interpreter); err != nil {
			return err
		}
		b.showScript()
	} else {
		f, err := os.Open(p.openName())
		if err != nil {
			return err
		}
		image, err := dynamic.Read(f)
		_ = f.Close()
		if err != nil {
			return b.failed("plugin", err)
		}
		w.left = []object{{Image: image, origin: p.origin()}}
		if err := w.loader(p.linker); err != nil {
			return err
		}
	}
	b.libraryPath = libraryPath(&w.left[0])
	for len(w.left) > 0 {
		next := w.left[0]
		w.left = w.left[1:]
		if err := w.libraries(&next); err != nil {
			return err
		}
	}
	return nil
}

// startsAlone reports whether a script's interpreter is going to find what it needs. A shell is a program and its libraries. Others have folders of
// modules, which are for the policy to open; then it opens something.
func (b *Box) startsAlone() bool {
	return isShell(b.program.linker) || len(b.policy.ReadOnly) > 0
}

func isShell(interpreter string) bool {
	return slices.Contains([]string{"sh", "ash", "bash", "busybox", "dash", "ksh", "mksh", "zsh"}, filepath.Base(interpreter))
}

// showScript shows a shell's script in a root of its own.
func (b *Box) showScript() {
	p := b.program
	if b.spaces() && isShell(p.linker) && missing(&b.policy, p.path) == p.path {
		b.binds = append(b.binds, launcher.Mount{Source: really(p.path), Target: p.path, FD: -1, Dev: p.dev, Ino: p.ino})
	}
}

// loader opens the loader, and what it reads to find libraries.
func (w *loading) loader(name string) error {
	base := filepath.Base(name)
	w.musl, w.asked[base] = strings.HasPrefix(base, "ld-musl-"), true
	loader, err := w.take("the plugin's loader", name, (*dynamic.Image).Library)
	if loader == nil || err != nil {
		return err
	}
	w.box.started = true
	table := dynamic.CacheName
	if w.usual = commonFolders(); w.musl {
		table = "/etc/" + strings.TrimSuffix(base, ".so.1") + ".path"
		w.usual = []string{"/lib", "/usr/local/lib", "/usr/lib"}
	}
	text := w.table(table)
	if w.musl && text != nil {
		w.usual = strings.FieldsFunc(string(text), func(r rune) bool { return r == ':' || r == '\n' })
	} else {
		w.cache = text
	}
	return nil
}

// table opens the file that tells the loader where libraries are, and returns what it holds: nothing if it is not there. It may be replaced while the
// pool lives, by ldconfig(8): what is in it is no part of the program.
func (w *loading) table(name string) []byte {
	host, target := w.box.reach(name)
	text, err := plain.Read(host, mostTable)
	if err != nil || w.steady("the table of libraries", name) != nil || w.box.machine.ownUsers && !publicFile(host) {
		return nil
	}
	if target != "" {
		w.box.binds = append(w.box.binds, launcher.Mount{Source: host, Target: target, FD: -1})
		w.box.opened = append(w.box.opened, name)
	}
	return text
}

// mostTable is the size of the largest table of libraries that is read. One of 600 libraries has 40 KB.
const mostTable = 16 << 20

// libraries opens the libraries of a program or library.
func (w *loading) libraries(o *object) error {
	for _, name := range o.Needed {
		if w.asked[name] {
			continue
		}
		w.asked[name] = true
		if strings.Contains(name, "/") {
			if _, err := w.library(name, o); err != nil {
				return err
			}
			continue
		}
		if err := w.search(name, o); err != nil {
			return err
		}
	}
	return nil
}

// search opens a library in the first folder that has it: in those of the file that names it, in the loader's table, which may have one for each kind of
// processor, and where loaders look last.
func (w *loading) search(name string, o *object) error {
	own := slices.Concat(o.expand(o.RunPath), o.expand(o.RPath), o.folders)
	if len(o.RunPath) > 0 && !w.musl {
		own = o.expand(o.RunPath)
	}
	for _, folder := range own {
		if found, err := w.within(folder, name, o); found || err != nil {
			return err
		}
	}
	cached := false
	for _, file := range dynamic.Cached(w.cache, name) {
		found, err := w.library(file, o)
		if err != nil {
			return err
		}
		cached = cached || found
	}
	if cached {
		return nil
	}
	for _, folder := range w.usual {
		if found, err := w.within(folder, name, o); found || err != nil {
			return err
		}
	}
	return nil
}

// within looks for a library in one folder and opens it to workers. It refuses a folder in which workers may write, even if the library is not there.
func (w *loading) within(folder, name string, o *object) (found bool, err error) {
	if !filepath.IsAbs(folder) {
		return false, nil
	}
	if w.looks++; w.looks > mostLooks {
		return false, w.box.failed("plugin", fmt.Errorf("%s: its libraries may lie in more than %d places, which is the limit", w.box.program.path, mostLooks))
	}
	if err := w.steady("a folder of the plugin's libraries", folder); err != nil {
		return false, err
	}
	return w.library(filepath.Join(folder, name), o)
}

func (w *loading) library(name string, o *object) (found bool, err error) {
	if !filepath.IsAbs(name) { // from the working folder, which is the worker's own
		return false, nil
	}
	file, err := w.take("the plugin's library", name, (*dynamic.Image).Library)
	if file == nil || err != nil {
		return false, err
	}
	file.folders = slices.Concat(o.expand(o.RPath), o.folders)
	w.left = append(w.left, *file)
	return true, nil
}

// expand returns folders with what the loader puts in the place of $ORIGIN. Those with other variables are left out.
func (o *object) expand(folders []string) (expanded []string) {
	for _, folder := range folders {
		folder = strings.NewReplacer("$ORIGIN", o.origin, "${ORIGIN}", o.origin).Replace(folder)
		if strings.Contains(folder, "..") { // the folder in front of it need not be there for workers
			folder = really(folder)
		}
		if filepath.IsAbs(folder) && !strings.Contains(folder, "$") {
			expanded = append(expanded, folder)
		}
	}
	return expanded
}

// libraryPath is LD_LIBRARY_PATH for a program that names folders by the place of its file: it is executed from memory, or in a root of its own.
func libraryPath(o *object) string {
	all := slices.Concat(o.RunPath, o.RPath)
	if text := strings.Join(all, ":"); !strings.Contains(text, "ORIGIN") && !strings.Contains(text, "..") {
		return ""
	}
	return strings.Join(o.expand(all), ":")
}

// steady refuses what workers could change, as the host sees it and as they do.
func (w *loading) steady(what, name string) error {
	b := w.box
	if len(b.policy.ReadWrite) == 0 {
		return nil
	}
	for _, in := range []place{b.seen, onHost} {
		if _, err := b.steady(what, name, in); err != nil {
			return err
		}
	}
	return nil
}

// take opens a file to workers and returns its ELF headers. It returns nil if the file is missing, is not allowed, or has been opened before.
func (w *loading) take(what, name string, suits func(*dynamic.Image) bool) (*object, error) {
	name = filepath.Clean(name)
	if err := w.steady(what, name); err != nil || w.opened[name] {
		return nil, err
	}
	if slices.ContainsFunc(ownFolders, func(folder string) bool { return within(name, folder) }) {
		return nil, nil
	}
	f, image := w.box.openImage(name)
	if f == nil {
		return nil, nil
	}
	if image.Machine != machines[runtime.GOARCH] || !suits(image) {
		return nil, f.Close()
	}
	if w.opened[name] = true; len(w.opened) > mostLoaded {
		err := fmt.Errorf("%s: it is loaded from more than %d files, which is the limit", w.box.program.path, mostLoaded)
		return nil, errors.Join(w.box.failed("plugin", err), f.Close())
	}
	return &object{Image: image, origin: filepath.Dir(name)}, w.box.show(f, name)
}

// ownFolders hold no libraries: what is there is the host's own, or that of a worker with a root of its own.
var ownFolders = []string{"/proc", "/dev", "/sys", launcher.Sockets}

// machines are what files for this program's processor say.
var machines = map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64, "riscv64": elf.EM_RISCV, "loong64": elf.EM_LOONGARCH, "ppc64le": elf.EM_PPC64}

// openImage opens a file that workers know by a name, and reads what it says of itself. It returns none if there is none, or no ELF file, or one that
// not everybody may read although the host is root.
func (b *Box) openImage(name string) (*os.File, *dynamic.Image) {
	host, _ := b.reach(name)
	fd, err := unix.Open(host, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, nil
	}
	f := os.NewFile(uintptr(fd), host)
	image, err := readImage(f)
	if err != nil || !b.public(f) {
		_ = f.Close()
		return nil, nil
	}
	return f, image
}

// public reports whether workers may be shown a file, and whether it has a name by which they can be.
func (b *Box) public(f *os.File) bool {
	path, err := os.Readlink(descriptor(f))
	if err != nil {
		return false
	}
	named, err := lookAt(path)
	is, err2 := markOf(int(f.Fd()))
	return err == nil && err2 == nil && named.dev == is.dev && named.ino == is.ino && (!b.machine.ownUsers || publicFile(path))
}

func readImage(held *os.File) (*dynamic.Image, error) {
	f, err := plain.Open(descriptor(held))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return dynamic.Read(f)
}

// descriptor is a name by which this process can open again what it has open.
func descriptor(f *os.File) string { return "/proc/self/fd/" + strconv.Itoa(int(f.Fd())) }

// show opens a file to workers under a name, for as long as it is this file and has not been written to.
func (b *Box) show(f *os.File, name string) error {
	b.held = append(b.held, f)
	is, err := markOf(int(f.Fd()))
	if err != nil {
		return err
	}
	really, err := os.Readlink(descriptor(f))
	if err != nil {
		return err
	}
	b.parts = append(b.parts, part{really, is})
	if _, target := b.reach(name); target != "" {
		b.binds = append(b.binds, launcher.Mount{Source: really, Target: target, FD: -1, Dev: is.dev, Ino: is.ino})
		b.opened = append(b.opened, name)
	}
	return nil
}

// publicFile reports whether everybody may read a file, and enter the folders that it lies in.
func publicFile(path string) bool {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil || st.Mode&unix.S_IROTH == 0 {
		return false
	}
	for path != "/" {
		path = filepath.Dir(path)
		if err := unix.Stat(path, &st); err != nil || st.Mode&unix.S_IXOTH == 0 {
			return false
		}
	}
	return true
}

// reach returns where the host has a file that workers know by a name, and where it is to be shown to those with a root of their own: nowhere, if the
// policy shows it already.
func (b *Box) reach(name string) (host, target string) {
	if !b.spaces() {
		if opens(&b.policy, name) {
			return name, ""
		}
		return name, name
	}
	if target = missing(&b.policy, name); target != "" {
		return target, target
	}
	return b.shown(name), ""
}

// Loaded returns the names of what is opened to workers of a plugin, at each level with walls, without being named by a policy: its loader and its
// libraries. A program that is linked statically has none.
func Loaded(plugin string) ([]string, error) {
	b := &Box{policy: Policy{Level: Basic}, machine: look(), place: -1}
	defer b.Close()
	var err error
	if b.program, err = openHeld(context.Background(), plugin); err != nil {
		return nil, err
	}
	if err := b.load(); err != nil {
		return nil, err
	}
	return b.opened, nil
}

// quoted writes names that a file chose: as they are, if they are plain.
func quoted(names []string) string {
	const most = 12
	var list []string
	for _, name := range names[:min(len(names), most)] {
		if q := strconv.Quote(name); q != `"`+name+`"` || strings.ContainsAny(name, " ,") {
			name = q
		}
		list = append(list, name)
	}
	if more := len(names) - most; more > 0 {
		list = append(list, fmt.Sprintf("%d more", more))
	}
	return strings.Join(list, ", ")
}

// loaderOf returns the name of the program that loads an executable, empty for a static one.
func loaderOf(f io.ReaderAt) (string, error) {
	image, err := dynamic.Read(f)
	if err != nil {
		return "", fmt.Errorf("%w: %w", err, unix.ENOEXEC)
	}
	return image.Interpreter, nil
}
