package sandbox

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/parhost/parhost/internal/plain"
)

// program is an executable as it was when it was opened. It is one of three: copied into memory, held by its own file, or a script.
type program struct {
	path    string
	file    *os.File // a copy in memory that nobody can change, or nil
	held    *held    // its own file, or nil
	wanted  string   // its checksum, if somebody has said what that is to be
	linker  string   // the program that loads it, empty for a static executable
	begins  []string // what comes before a script's name, if env(1) would have found its linker
	asksEnv bool     // of a script: only env(1) knows its linker

	dev, ino uint64 // of the file that was read

	checksum func() (string, error) // worked out when somebody asks, once: it takes longer than all else before the start
}

// openProgram reads an executable once. All workers run the bytes that were read and hashed, also if the file changes later. ctx ends the reading, which may
// take half a minute.
func openProgram(ctx context.Context, path, wanted string) (*program, error) {
	path, source, err := sourceOf(path)
	if err != nil {
		return nil, err
	}
	f, err := plain.Open(source)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	p := &program{path: path, wanted: wanted}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return nil, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	p.dev, p.ino = st.Dev, st.Ino
	line, script, err := firstLine(f)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, plain.Cause(err))
	}
	if script {
		return p, p.readScript(ctx, f, line)
	}
	if wanted == "" { // before it takes memory; with a checksum it is of more use to say that it is another file
		if err := p.findLoader(f); err != nil {
			return nil, err
		}
	}
	if err := p.openMemory(); err != nil {
		return nil, err
	}
	if err := p.load(ctx, f); err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

// openMemory makes the file in memory that holds the program.
func (p *program) openMemory() error {
	fd, err := unix.MemfdCreate("parhost-plugin", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|unix.MFD_EXEC)
	if errors.Is(err, unix.EINVAL) { // the last flag came with Linux 6.3
		fd, err = unix.MemfdCreate("parhost-plugin", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	}
	if err != nil {
		return fmt.Errorf("memfd_create: %w", err)
	}
	p.file = os.NewFile(uintptr(fd), p.path)
	return nil
}

// sourceOf returns a plugin's name, and the name to open it by, which differs for this program: see [Self].
func sourceOf(plugin string) (path, source string, err error) {
	if plugin == self {
		path, err = os.Executable()
		return path, self, err
	}
	path, err = filepath.Abs(plugin)
	return path, path, err
}

// readScript hashes a script, whose interpreter is going to read it again at each start.
func (p *program) readScript(ctx context.Context, f *os.File, line string) error {
	p.interpreter(strings.Fields(line))
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	sum, err := fileChecksum(ctx, f)
	if err != nil {
		return fmt.Errorf("read %s: %w", p.path, plain.Cause(err))
	}
	p.checksum = func() (string, error) { return sum, nil }
	return compare(p.path, p.wanted, sum)
}

// openHeld holds the file of an executable that needs no walls: its bytes are not copied. A script is hashed, and read at each start.
func openHeld(ctx context.Context, plugin string) (*program, error) {
	path, source, err := sourceOf(plugin)
	if err != nil {
		return nil, err
	}
	h, err := holdFile(path, source)
	if err != nil {
		return nil, err
	}
	p := &program{path: path, held: h, checksum: h.checksum, dev: h.mark.dev, ino: h.mark.ino}
	f, err := plain.Open(descriptor(h.file))
	if errors.Is(err, unix.EACCES) { // it is no script, which its interpreter could not read
		return p, nil
	}
	if err != nil {
		return nil, errors.Join(err, p.close())
	}
	defer f.Close()
	line, script, err := firstLine(f)
	if script && err == nil {
		err = errors.Join(p.readScript(ctx, f, line), h.close())
		p.held = nil
		return p, err
	}
	p.linker, _ = loaderOf(f) // what the kernel executes besides is its business
	if plugin != self {       // which nobody can write to
		h.learn()
	}
	return p, nil
}

// script reports whether an interpreter reads the program's file at each start.
func (p *program) script() bool { return p.file == nil && p.held == nil }

// mostLine is more than the kernel reads of a script's first line (BINPRM_BUF_SIZE).
const mostLine = 4096

// firstLine returns what follows "#!" in the first line of a script, and whether a file is one.
func firstLine(f io.Reader) (line string, script bool, err error) {
	head := make([]byte, mostLine)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return "", false, err
	}
	text, script := strings.CutPrefix(string(head[:n]), "#!")
	if !script {
		return "", false, nil
	}
	line, _, whole := strings.Cut(text, "\n")
	if !whole {
		return "", true, fmt.Errorf("its first line does not end within %d bytes", mostLine)
	}
	return line, true, nil
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
	if linker, err := exec.LookPath(words[0]); err == nil && !isScript(linker) { // as pyenv's are
		p.linker, p.begins, p.asksEnv = linker, append([]string{linker}, words[1:]...), false
	}
}

// origin is the folder of what the loader loads; empty if there is no loader.
func (p *program) origin() string {
	switch {
	case p.linker == "":
		return ""
	case p.script():
		return filepath.Dir(really(p.linker))
	}
	return filepath.Dir(really(p.path))
}

// openName is a name by which this process can open what was opened, which is no script.
func (p *program) openName() string {
	if p.held != nil {
		return descriptor(p.held.file)
	}
	return descriptor(p.file)
}

func isScript(path string) bool {
	f, err := plain.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	_, script, _ := firstLine(f)
	return script
}

// seal adds seals to a file in memory. The kernel answers EBUSY while another part of the system holds a page of the file, for example while it moves the
// page. So seal tries again for about one second.
func seal(ctx context.Context, f *os.File, seals int) error {
	for wait := time.Millisecond; ; wait *= 2 {
		_, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, seals)
		if !errors.Is(err, unix.EBUSY) || wait > time.Second {
			return err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// load copies the file, and looks what it needs in order to run.
func (p *program) load(ctx context.Context, f *os.File) error {
	size, err := p.copy(ctx, f)
	if err != nil {
		return fmt.Errorf("copy %s: %w", p.path, err)
	}
	if err := p.file.Chmod(0o555); err != nil {
		return err
	}
	const seals = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE
	if err := seal(ctx, p.file, seals); err != nil {
		return fmt.Errorf("seal %s: %w", p.path, err)
	}
	hash := func(ctx context.Context) (string, error) {
		sum := sha256.New()
		_, err := io.Copy(until{sum, ctx.Done()}, io.NewSectionReader(p.file, 0, size))
		return hex.EncodeToString(sum.Sum(nil)), err
	}
	p.checksum = sync.OnceValues(func() (string, error) { return hash(context.Background()) })
	if p.wanted != "" {
		got, err := hash(ctx)
		if err != nil {
			return err
		}
		if err := compare(p.path, p.wanted, got); err != nil {
			return err
		}
		p.checksum = func() (string, error) { return got, nil }
	}
	return p.findLoader(p.file) // the file may have been changed since it was looked at first
}

// findLoader finds the program that loads the executable. It refuses a file that is no executable.
func (p *program) findLoader(f io.ReaderAt) (err error) {
	if p.linker, err = loaderOf(f); err != nil {
		return fmt.Errorf("%s is neither a script nor an executable of this system: %w", p.path, err)
	}
	return nil
}

// pieceBytes is how many bytes one system call copies. It is small enough that a signal waits for some milliseconds at most.
const pieceBytes = 4 << 20

// copy copies the whole file into memory. The error is a [*plain.SizeError] if it is too large, or becomes that.
func (p *program) copy(ctx context.Context, f *os.File) (size int64, err error) {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return 0, err
	}
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	for {
		if max(size, info.Size()) > mostProgram { // it is too large, or grows
			return size, &plain.SizeError{Path: p.path, Most: mostProgram}
		}
		if ctx.Err() != nil {
			return size, ctx.Err()
		}
		n, err := unix.Sendfile(int(p.file.Fd()), int(f.Fd()), nil, int(min(pieceBytes, mostProgram+1-size))) // without a way through this process
		switch {
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.EAGAIN):
		case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOSYS): // not every file system can
			n, err := plain.Copy(until{p.file, ctx.Done()}, f, mostProgram-size)
			return size + n, err
		case err != nil || n == 0:
			return size, err
		}
		size += int64(max(n, 0))
	}
}

// recheck is a [*ChangedError] if the next start, or the last one, is not of the bytes that were opened. A copy in memory cannot change.
func (p *program) recheck() error {
	switch {
	case p.held != nil:
		return p.held.recheck()
	case p.file != nil:
		return nil
	}
	sum, _ := p.checksum() // which is known
	return unchanged(p.path, sum)
}

func (p *program) close() error {
	switch {
	case p.held != nil:
		return p.held.close()
	case p.file != nil:
		return p.file.Close()
	}
	return nil
}
