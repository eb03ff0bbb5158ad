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

// program is an executable as it was when it was opened. It is copied into memory, held by its own file, or a script.
type program struct {
	path    string
	file    *os.File // a sealed copy in memory that nobody can change, or nil
	held    *held    // the executable's own file, or nil
	wanted  string   // the checksum that the caller demands; empty if none
	linker  string   // its loader or interpreter; empty for a static executable
	begins  []string // arguments before a script's name, if the first line named env(1) and the interpreter was found
	asksEnv bool     // only env(1) can find the interpreter of this script

	dev, ino uint64 // of the file that was read

	checksum func() (string, error) // computed once, by the first call: hashing takes longer than all other steps before the start
}

// openProgram reads an executable once. All workers run the bytes that were read and hashed, even if the file changes later. Reading may take half a
// minute; it stops when ctx ends.
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
	if wanted == "" { // check before copying; with a checksum, a [*ChecksumError] tells the caller more than the kind of file
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

// openMemory creates the file in memory for the copy of the program.
func (p *program) openMemory() error {
	fd, err := unix.MemfdCreate("parhost-plugin", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|unix.MFD_EXEC)
	if errors.Is(err, unix.EINVAL) { // MFD_EXEC exists since Linux 6.3
		fd, err = unix.MemfdCreate("parhost-plugin", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	}
	if err != nil {
		return fmt.Errorf("memfd_create: %w", err)
	}
	p.file = os.NewFile(uintptr(fd), p.path)
	return nil
}

// sourceOf returns the plugin's absolute path and the name by which to open it. These differ only for this program itself: see [Self].
func sourceOf(plugin string) (path, source string, err error) {
	if plugin == self {
		path, err = os.Executable()
		return path, self, err
	}
	path, err = filepath.Abs(plugin)
	return path, path, err
}

// readScript hashes a script. The script's interpreter reads the file again at each start.
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

// openHeld holds the file of an executable that needs no walls, without copying it. A script is hashed instead, and its interpreter reads it at each
// start.
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
	if errors.Is(err, unix.EACCES) { // the file can only be executed, so it is not a script: an interpreter could not read it
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
	p.linker, _ = loaderOf(f) // not an error: the kernel may be able to execute other formats
	if plugin != self {       // nobody can write to the file of this process
		h.learn()
	}
	return p, nil
}

// script reports whether the program is a script, whose interpreter reads the file at each start.
func (p *program) script() bool { return p.file == nil && p.held == nil }

// maxLine is the limit of a script's first line in bytes. The kernel reads less (BINPRM_BUF_SIZE).
const maxLine = 4096

// firstLine reports whether a file is a script, and returns what follows "#!" in its first line.
func firstLine(f io.Reader) (line string, script bool, err error) {
	head := make([]byte, maxLine)
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
		return "", true, fmt.Errorf("its first line does not end within %d bytes", maxLine)
	}
	return line, true, nil
}

// interpreter finds the linker from the words of a script's first line. It does the work of env(1) itself, because a worker may execute only one
// program.
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
	} else if len(words) > 1 { // the kernel passes them as one argument
		words = nil
	}
	p.asksEnv = true
	if len(words) == 0 || words[0][0] == '-' || strings.ContainsAny(strings.Join(words, ""), "=\"'\\$#") {
		return
	}
	if linker, err := exec.LookPath(words[0]); err == nil && !isScript(linker) { // pyenv's are scripts
		p.linker, p.begins, p.asksEnv = linker, append([]string{linker}, words[1:]...), false
	}
}

// origin returns the folder of the file that the loader loads, or empty if there is no loader. For a script that file is its interpreter.
func (p *program) origin() string {
	switch {
	case p.linker == "":
		return ""
	case p.script():
		return filepath.Dir(really(p.linker))
	}
	return filepath.Dir(really(p.path))
}

// openName returns a name by which this process can reopen the executable. The program must not be a script.
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

// seal adds seals to a file in memory. The kernel returns EBUSY while another part of the system holds a page of the file, for example to move the
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

// load copies the file into memory, seals the copy, compares its checksum with the wanted one, and finds its loader.
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
	return p.findLoader(p.file) // read from the copy, because the file may have changed since the first check
}

// findLoader finds the executable's loader. It refuses a file that is not an executable.
func (p *program) findLoader(f io.ReaderAt) (err error) {
	if p.linker, err = loaderOf(f); err != nil {
		return fmt.Errorf("%s is neither a script nor an executable of this system: %w", p.path, err)
	}
	return nil
}

// pieceBytes is how many bytes one system call copies. It is small enough that a signal waits for a few milliseconds at most.
const pieceBytes = 4 << 20

// copy copies the whole file into memory. It returns a [*plain.SizeError] if the file is too large or grows too large meanwhile.
func (p *program) copy(ctx context.Context, f *os.File) (size int64, err error) {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return 0, err
	}
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	for {
		if max(size, info.Size()) > maxProgram {
			return size, &plain.SizeError{Path: p.path, Most: maxProgram}
		}
		if ctx.Err() != nil {
			return size, ctx.Err()
		}
		n, err := unix.Sendfile(int(p.file.Fd()), int(f.Fd()), nil, int(min(pieceBytes, maxProgram+1-size))) // copies inside the kernel, without a buffer here
		switch {
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.EAGAIN):
		case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOSYS): // some file systems do not support sendfile
			n, err := plain.Copy(until{p.file, ctx.Done()}, f, maxProgram-size)
			return size + n, err
		case err != nil || n == 0:
			return size, err
		}
		size += int64(max(n, 0))
	}
}

// recheck returns a [*ChangedError] if the next start, or the last one, would run other bytes than those that were opened. A copy in memory cannot
// change.
func (p *program) recheck() error {
	switch {
	case p.held != nil:
		return p.held.recheck()
	case p.file != nil:
		return nil
	}
	sum, _ := p.checksum() // known since readScript, so there is no error
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
