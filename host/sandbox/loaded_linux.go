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

// This file finds the files that a program's loader opens before the program's first instruction: the loader itself, and the libraries that the
// program and its libraries name. They belong to the program, so workers may open them. They are found by the loader's rules and opened to workers
// one by one. The plugin that names them may be hostile. So only ELF libraries are opened, and a host that is root opens only those that every user
// may read.

// loading finds the files that a program's loader opens.
type loading struct {
	box    *Box
	musl   bool
	cache  []byte   // content of ld.so.cache, glibc's table of libraries; nil for musl
	usual  []string // folders in which the loader looks last
	asked  map[string]bool
	opened map[string]bool // paths of the files that have been opened to workers
	left   []object
	looks  int
}

// object is a program or library whose libraries have not been found yet.
type object struct {
	*dynamic.Image
	origin  string   // folder of its file
	folders []string // RPATH folders of the objects that have loaded it
}

// Limits on the work that a hostile plugin can cause: the files that are opened for one program, and the places in which its libraries are searched.
const (
	maxLoaded = 256
	maxLooks  = 1 << 15
)

// load finds the program's loader or interpreter and the libraries that are loaded with it, and opens them to workers. A file that is missing or may
// not be opened is skipped: the loader then reports its name when a worker starts.
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

// startsAlone reports whether a script's interpreter can start with its libraries alone. A shell can. Other interpreters need folders of modules,
// which the policy has to open. So for them startsAlone reports whether the policy opens anything.
func (b *Box) startsAlone() bool {
	return isShell(b.program.linker) || len(b.policy.ReadOnly) > 0
}

func isShell(interpreter string) bool {
	return slices.Contains([]string{"sh", "ash", "bash", "busybox", "dash", "ksh", "mksh", "zsh"}, filepath.Base(interpreter))
}

// showScript binds a shell's script into the private root, unless the policy already shows it.
func (b *Box) showScript() {
	p := b.program
	if b.spaces() && isShell(p.linker) && missing(&b.policy, p.path) == p.path {
		b.binds = append(b.binds, launcher.Mount{Source: really(p.path), Target: p.path, FD: -1, Dev: p.dev, Ino: p.ino})
	}
}

// loader opens the plugin's loader, and the table in which it looks up libraries.
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

// table opens the loader's table of libraries to workers and returns its content, or nil if the table is missing or may not be opened. ldconfig(8)
// may replace the table while the pool lives. So the table is not a part of the program that is checked for changes.
func (w *loading) table(name string) []byte {
	host, target := w.box.reach(name)
	text, err := plain.Read(host, maxTable)
	if err != nil || w.steady("the table of libraries", name) != nil || w.box.machine.ownUsers && !publicFile(host) {
		return nil
	}
	if target != "" {
		w.box.binds = append(w.box.binds, launcher.Mount{Source: host, Target: target, FD: -1})
		w.box.opened = append(w.box.opened, name)
	}
	return text
}

// maxTable is the size in bytes of the largest table of libraries that is read. A table of 600 libraries has 40 KB.
const maxTable = 16 << 20

// libraries opens the libraries that a program or library needs.
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

// search opens a library from the first place that has it: the run path of the file that names it, then the loader's table, then the folders in which
// loaders look last. The table may list one file for each kind of processor, and all of these are opened.
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

// within looks for a library in one folder and opens it to workers. It refuses a folder in which workers may write, even if the library is not there:
// a worker could put one there.
func (w *loading) within(folder, name string, o *object) (found bool, err error) {
	if !filepath.IsAbs(folder) {
		return false, nil
	}
	if w.looks++; w.looks > maxLooks {
		return false, w.box.failed("plugin", fmt.Errorf("%s: its libraries may lie in more than %d places, which is the limit", w.box.program.path, maxLooks))
	}
	if err := w.steady("a folder of the plugin's libraries", folder); err != nil {
		return false, err
	}
	return w.library(filepath.Join(folder, name), o)
}

func (w *loading) library(name string, o *object) (found bool, err error) {
	if !filepath.IsAbs(name) { // relative to the working folder, which belongs to the worker
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

// expand returns folders with $ORIGIN replaced as the loader does it. Folders with other variables are left out.
func (o *object) expand(folders []string) (expanded []string) {
	for _, folder := range folders {
		folder = strings.NewReplacer("$ORIGIN", o.origin, "${ORIGIN}", o.origin).Replace(folder)
		if strings.Contains(folder, "..") { // the folder before the .. may be missing for workers
			folder = really(folder)
		}
		if filepath.IsAbs(folder) && !strings.Contains(folder, "$") {
			expanded = append(expanded, folder)
		}
	}
	return expanded
}

// libraryPath returns the LD_LIBRARY_PATH for a program whose run path is relative to its own file, or empty if the program needs none. The loader
// cannot resolve such a path, because it finds the program in memory or in a private root.
func libraryPath(o *object) string {
	all := slices.Concat(o.RunPath, o.RPath)
	if text := strings.Join(all, ":"); !strings.Contains(text, "ORIGIN") && !strings.Contains(text, "..") {
		return ""
	}
	return strings.Join(o.expand(all), ":")
}

// steady refuses a file that workers could change. It checks the name as workers see it and as the host sees it.
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

// take opens a file to workers and returns its ELF headers. It returns nil if the file is missing, may not be opened, or has been opened before.
// suits decides whether the ELF file is of the wanted type. what describes the file in errors.
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
	if w.opened[name] = true; len(w.opened) > maxLoaded {
		err := fmt.Errorf("%s: it is loaded from more than %d files, which is the limit", w.box.program.path, maxLoaded)
		return nil, errors.Join(w.box.failed("plugin", err), f.Close())
	}
	return &object{Image: image, origin: filepath.Dir(name)}, w.box.show(f, name)
}

// ownFolders hold no libraries. Their content belongs to the host, or to a worker with a private root.
var ownFolders = []string{"/proc", "/dev", "/sys", launcher.Sockets}

// machines maps GOARCH to the ELF machine of files for that processor.
var machines = map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64, "riscv64": elf.EM_RISCV, "loong64": elf.EM_LOONGARCH, "ppc64le": elf.EM_PPC64}

// openImage opens a file by the name that workers know, and reads its ELF headers. It returns nil if the file is missing or is not ELF, or if the
// host is root and not every user may read the file.
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

// public reports whether workers may be shown a file: a name must still lead to it, and if workers run as their own users, every user must be able to
// read it.
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

// descriptor returns a path by which this process can reopen a file that it has open.
func descriptor(f *os.File) string { return "/proc/self/fd/" + strconv.Itoa(int(f.Fd())) }

// show opens a file to workers under a name. The file must stay the same and unwritten: recheck compares its mark at each start, and the mount is
// bound to its inode.
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

// publicFile reports whether every user may read a file and enter all folders above it.
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

// reach returns where the host has a file that workers know by a name, and the target under which the file still has to be opened to workers. target
// is empty if the policy already shows the file.
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

// Loaded returns the paths of the files that are opened to workers of a plugin at basic and strict although no policy names them: the plugin's loader
// and libraries. A statically linked program has none.
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

// quoted joins names that the plugin chose. It quotes each name that is not plain, and lists at most 12.
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

// loaderOf returns the path of the loader that an executable names, or empty for a static executable.
func loaderOf(f io.ReaderAt) (string, error) {
	image, err := dynamic.Read(f)
	if err != nil {
		return "", fmt.Errorf("%w: %w", err, unix.ENOEXEC)
	}
	return image.Interpreter, nil
}
