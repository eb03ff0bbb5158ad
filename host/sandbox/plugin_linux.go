package sandbox

import (
	"bufio"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// program is an executable as it was when it was opened.
type program struct {
	path     string
	file     *os.File // a copy in memory that nobody can change, nil for a script
	checksum string
	wanted   string // that checksum, if somebody has said what it is to be
	linker   string // the program that loads it, empty for a static executable
}

// openProgram reads an executable once: what is hashed is what runs, in all workers, whatever becomes of the file.
func openProgram(path, wanted string) (*program, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	p := &program{path: path, wanted: wanted}
	head := bufio.NewReader(f)
	if start, _ := head.Peek(2); string(start) == "#!" {
		line, err := head.ReadString('\n')
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", path, err)
		}
		if words := strings.Fields(line[2:]); len(words) > 0 {
			p.linker = words[0]
		}
		return p, p.hash(f, io.Discard)
	}
	fd, err := unix.MemfdCreate("parhost-plugin", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|unix.MFD_EXEC)
	if errors.Is(err, unix.EINVAL) { // the last flag came with Linux 6.3
		fd, err = unix.MemfdCreate("parhost-plugin", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	}
	if err != nil {
		return nil, fmt.Errorf("memfd_create: %w", err)
	}
	p.file = os.NewFile(uintptr(fd), path)
	if err := p.load(f); err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

func (p *program) hash(f io.ReadSeeker, w io.Writer) error {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	got, err := checksum(f, w)
	if err != nil {
		return fmt.Errorf("read %s: %w", p.path, err)
	}
	p.checksum = got
	return compare(p.path, p.wanted, got)
}

// load copies the file, and looks what it needs in order to run.
func (p *program) load(f io.ReadSeeker) error {
	if err := p.hash(f, p.file); err != nil {
		return err
	}
	if err := p.file.Chmod(0o555); err != nil {
		return err
	}
	const seals = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE
	if _, err := unix.FcntlInt(p.file.Fd(), unix.F_ADD_SEALS, seals); err != nil {
		return fmt.Errorf("seal %s: %w", p.path, err)
	}
	image, err := elf.NewFile(p.file)
	if err != nil {
		return fmt.Errorf("%s is neither a script nor an executable of this system: %w", p.path, err)
	}
	for _, s := range image.Progs {
		if s.Type == elf.PT_INTERP {
			name, err := io.ReadAll(io.LimitReader(s.Open(), 4096))
			if err != nil {
				return fmt.Errorf("read %s: %w", p.path, err)
			}
			p.linker = strings.TrimRight(string(name), "\x00")
		}
	}
	return nil
}

// check reports what the program needs that a policy does not open to it.
func (p *program) check(policy *Policy) error {
	script := p.file == nil
	e := &NeedsFilesError{Path: p.path, Reason: "is linked dynamically, by " + p.linker, Static: !script}
	if script {
		e.Reason = "is a script for " + p.linker
		if policy.Level == Strict && !opens(policy, p.path) { // its interpreter has to find it
			e.Folders = append(e.Folders, filepath.Dir(p.path))
		}
	}
	if p.linker != "" && !opens(policy, p.linker) {
		e.Folders = append(e.Folders, p.libraries(policy)...)
	}
	if len(e.Folders) == 0 {
		return nil
	}
	return e
}

// libraries are the folders of this machine that the loader or interpreter needs, but for those that are open already.
func (p *program) libraries(policy *Policy) []string {
	usual := []string{"/lib", "/lib64", "/usr/lib", "/usr/lib64"}
	if p.file == nil {
		usual = []string{"/bin", "/lib", "/lib64", "/usr"}
	}
	var folders []string
	covered := *policy
	covered.ReadOnly = slices.Clone(policy.ReadOnly)
	add := func(folder string) {
		if _, err := os.Stat(folder); err != nil || opens(&covered, folder) {
			return
		}
		folders = append(folders, folder)
		covered.ReadOnly = append(covered.ReadOnly, Bind{Source: folder, Target: folder})
	}
	for _, folder := range usual {
		add(folder)
	}
	if !opens(&covered, p.linker) { // it lies elsewhere: in bin or lib, beside what belongs to it
		folder := filepath.Dir(p.linker)
		if above := filepath.Dir(folder); above != "/" {
			folder = above
		}
		add(folder)
	}
	return folders
}

// opens reports whether a policy lets a plugin find and run a file of the host: at basic by where it really lies, at strict by its name.
func opens(policy *Policy, file string) bool {
	really := func(name string) string {
		if target, err := filepath.EvalSymlinks(name); policy.Level == Basic && err == nil {
			return target
		}
		return name
	}
	file = really(file)
	return slices.ContainsFunc(policy.ReadOnly, func(b Bind) bool {
		folder := really(b.Target)
		return file == folder || strings.HasPrefix(file, strings.TrimSuffix(folder, "/")+"/")
	})
}

// recheck compares the checksum of a script once more, which its interpreter reads at each start. Other programs cannot change.
func (p *program) recheck() error {
	if p.file != nil {
		return nil
	}
	return compareAgain(p.path, p.wanted)
}

func (p *program) close() error {
	if p.file == nil {
		return nil
	}
	return p.file.Close()
}
