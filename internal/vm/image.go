//go:build linux

package vm

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
)

// An image is the initial root file system of a machine: an archive in cpio's format "newc" (early-userspace/buffer-format.rst in the kernel's
// documentation). It is not compressed, because unpacking would take most of the time.
type image struct {
	w       *bufio.Writer
	written int64
	number  int             // number of the last entry, used as its inode number
	made    map[string]bool // folders that have an entry
}

// The types of entries (inode(7)).
const (
	kindFolder = 0o040000
	kindDevice = 0o020000
	kindFile   = 0o100000
)

// consoleMajor and consoleMinor are the device numbers of /dev/console, which becomes the standard streams of pid 1 (admin-guide/devices.txt).
const (
	consoleMajor = 5
	consoleMinor = 1
)

// writeImage writes the machine's initial root to a file.
func (m *Machine) writeImage(file string) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	i := &image{w: bufio.NewWriterSize(f, 1<<20), made: map[string]bool{"": true}}
	if err := i.fill(m); err != nil {
		_ = f.Close()
		return err
	}
	return f.Close()
}

func (i *image) fill(m *Machine) error {
	commands, err := json.Marshal(m.Commands)
	if err != nil {
		return err
	}
	if err := i.folder("dev"); err != nil {
		return err
	}
	if err := i.entry("dev/console", kindDevice|0o600, 0, consoleMajor, consoleMinor, nil); err != nil {
		return err
	}
	if err := i.add(strings.TrimPrefix(CommandsFile, "/"), int64(len(commands)), strings.NewReader(string(commands))); err != nil {
		return err
	}
	if err := i.copy("init", m.Init); err != nil {
		return err
	}
	for inside, outside := range m.Files {
		if err := i.copy(strings.TrimPrefix(path.Clean(inside), "/"), outside); err != nil {
			return err
		}
	}
	if err := i.entry("TRAILER!!!", 0, 0, 0, 0, nil); err != nil {
		return err
	}
	return i.w.Flush()
}

func (i *image) copy(name, from string) error {
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	return i.add(name, info.Size(), f)
}

// add adds a file, and the folders above it.
func (i *image) add(name string, size int64, r io.Reader) error {
	if folder := path.Dir(name); folder != "." {
		if err := i.folder(folder); err != nil {
			return err
		}
	}
	return i.entry(name, kindFile|0o755, size, 0, 0, r)
}

func (i *image) folder(name string) error {
	if i.made[name] || name == "." {
		return nil
	}
	if err := i.folder(path.Dir(name)); err != nil {
		return err
	}
	i.made[name] = true
	return i.entry(name, kindFolder|0o755, 0, 0, 0, nil)
}

// entry writes the header, the name and the content of an entry. Header with name, and content, are padded to multiples of four bytes.
func (i *image) entry(name string, mode, size, major, minor int64, r io.Reader) error {
	i.number++
	head := []byte("070701")
	for _, field := range []int64{int64(i.number), mode, 0, 0, 1, 0, size, 0, 0, major, minor, int64(len(name)) + 1, 0} {
		head = fmt.Appendf(head, "%08X", field)
	}
	if err := i.write(bytes.NewReader(append(head, name+"\x00"...)), -1); err != nil || r == nil {
		return err
	}
	return i.write(r, size)
}

func (i *image) write(r io.Reader, want int64) error {
	n, err := io.Copy(i.w, r)
	if err != nil {
		return err
	}
	if want >= 0 && n != want {
		return fmt.Errorf("a file of %d bytes had %d", want, n)
	}
	i.written += n
	fill := (4 - i.written%4) % 4
	i.written += fill
	_, err = i.w.WriteString("\x00\x00\x00"[:fill])
	return err
}
