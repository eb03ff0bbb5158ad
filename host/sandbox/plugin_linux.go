package sandbox

import (
	"bufio"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// program is an executable as it was when it was opened.
type program struct {
	path    string
	file    *os.File // a copy in memory that nobody can change, nil for a script
	wanted  string   // its checksum, if somebody has said what that is to be
	linker  string   // the program that loads it, empty for a static executable
	begins  []string // what comes before a script's name, if env(1) would have found its linker
	asksEnv bool     // of a script: only env(1) knows its linker

	checksum func() (string, error) // worked out when somebody asks, once: it takes longer than all else before the start
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
		p.interpreter(strings.Fields(line[2:]))
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return nil, err
		}
		got, err := checksum(f, io.Discard)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", path, err)
		}
		p.checksum = func() (string, error) { return got, nil }
		return p, compare(path, wanted, got)
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

// interpreter takes the words of a script's first line. What env(1) would do with them is done here, because a worker becomes another
// program once.
func (p *program) interpreter(words []string) {
	if len(words) == 0 {
		return
	}
	p.linker = words[0]
	if filepath.Base(p.linker) != "env" {
		return
	}
	words = words[1:]
	if len(words) > 1 && words[0] == "-S" {
		words = words[1:]
	} else if len(words) > 1 { // which the kernel hands over as one
		words = nil
	}
	p.asksEnv = true
	if len(words) == 0 || words[0][0] == '-' || strings.ContainsAny(strings.Join(words, ""), "=\"'\\$#") {
		return
	}
	if linker, err := exec.LookPath(words[0]); err == nil {
		p.linker, p.begins, p.asksEnv = linker, append([]string{linker}, words[1:]...), false
	}
}

// load copies the file, and looks what it needs in order to run.
func (p *program) load(f *os.File) error {
	size, err := p.copy(f)
	if err != nil {
		return fmt.Errorf("read %s: %w", p.path, err)
	}
	if err := p.file.Chmod(0o555); err != nil {
		return err
	}
	const seals = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE
	if _, err := unix.FcntlInt(p.file.Fd(), unix.F_ADD_SEALS, seals); err != nil {
		return fmt.Errorf("seal %s: %w", p.path, err)
	}
	p.checksum = sync.OnceValues(func() (string, error) { return checksum(io.NewSectionReader(p.file, 0, size), io.Discard) })
	if p.wanted != "" {
		got, err := p.checksum()
		if err != nil {
			return err
		}
		if err := compare(p.path, p.wanted, got); err != nil {
			return err
		}
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

// copy copies the whole file into memory.
func (p *program) copy(f *os.File) (size int64, err error) {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return 0, err
	}
	const piece = 1 << 30
	for {
		n, err := unix.Sendfile(int(p.file.Fd()), int(f.Fd()), nil, piece) // without a way through this process
		switch {
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.EAGAIN):
		case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOSYS): // not every file system can
			n, err := io.Copy(p.file, f)
			return size + n, err
		case err != nil || n == 0:
			return size, err
		}
		size += int64(max(n, 0))
	}
}

// check reports what the program needs that a policy does not open to it.
func (p *program) check(policy *Policy) error {
	script := p.file == nil
	if p.asksEnv && !policy.AllowFork {
		return fmt.Errorf("%s: its first line has env(1) start it, which takes AllowFork: write the interpreter's own path there", p.path)
	}
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
