// Package rss reads from /proc how much memory a process has resident, even if the process tries to hide it.
package rss

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Memory is the memory of a process, in bytes.
type Memory struct {
	Resident  int64 // all resident memory, including what it shares
	Anonymous int64 // the part of Resident that belongs to no file
	Shared    int64 // the part of Resident that it may share with others by a mapping, as workers do with their host
	Swapped   int64 // not in Resident: anonymous memory that was swapped out
	Tables    int64 // not in Resident: page tables, which are the kernel's memory
}

// ErrEnded says that a process has ended, so that it has no memory.
var ErrEnded = errors.New("the process has ended")

// Process is one process. It never becomes another one that gets the same process id later. Its methods must not be called by several goroutines at once.
type Process struct {
	folder *os.Root // the process's folder in /proc
	status *os.File
	thread string // a thread's folder, relative to folder; the thread was alive at the last Read
	text   []byte
}

// Open returns the process with an id. The caller must close it.
//
// The error matches [ErrEnded] if there is no such process. The mount option hidepid of /proc can hide an existing process (proc(5)); then the
// error does not match.
func Open(pid int) (*Process, error) {
	folder, err := os.OpenRoot("/proc/" + strconv.Itoa(pid))
	if ended(err) && errors.Is(unix.Kill(pid, 0), unix.ESRCH) {
		return nil, ErrEnded
	}
	if err != nil {
		return nil, err
	}
	status, err := folder.Open("status")
	if err != nil {
		return nil, errors.Join(err, folder.Close())
	}
	return &Process{folder: folder, status: status, thread: ".", text: make([]byte, 4<<10)}, nil
}

// Close releases the files of the process.
func (p *Process) Close() error { return errors.Join(p.status.Close(), p.folder.Close()) }

// Read returns the memory that the process has now.
//
// The error matches [ErrEnded] if the process has ended. With any other error its memory is unknown, and must not be taken for zero: a process can
// cause such errors.
func (p *Process) Read() (Memory, error) {
	ending := 0         // successive searches that found only exiting threads, and no new one
	var before []string // threads of the last search
	for range searches {
		s, err := p.read(p.status)
		if err != nil || s.known {
			p.thread = "."
			return s.Memory, err
		}
		if s.threads <= 1 {
			return Memory{}, ErrEnded
		}
		// The first thread has ended. The other threads have the memory of the process, but only their own status files report it.
		m, known, threads := p.search()
		if known {
			return m, nil
		}
		fresh := func(name string) bool { return !slices.Contains(before, name) }
		if threads == nil || slices.ContainsFunc(threads, fresh) {
			ending = 0
		} else if ending++; ending == dying {
			return Memory{}, ErrEnded
		}
		before = threads
	}
	return Memory{}, fmt.Errorf("%s: the first thread has ended, and no other tells how much memory there is", p.status.Name())
}

// A process counts as ended after this many successive searches that find only exiting threads, and no new one. A killed process is in this state
// for a moment, longer on a busy machine. A process that hides its memory behind threads that come and go has new threads at each search.
const dying = 4

// searches is how often Read looks for a living thread, among threads that come and go.
const searches = 100

// search looks for a thread whose status reports the memory of the process. Threads may end while it looks. If no status does, ending has the
// present threads, all of which are exiting; ending is nil if search could not look at each thread.
func (p *Process) search() (m Memory, known bool, ending []string) {
	folder, err := p.folder.Open("task")
	if err != nil {
		return Memory{}, false, nil
	}
	threads, err := folder.Readdirnames(-1)
	_ = folder.Close()
	if err != nil {
		return Memory{}, false, nil
	}
	all := true
	for _, name := range slices.Backward(threads) { // the youngest first, because it probably lives longest
		thread := "task/" + name
		f, err := p.folder.Open(thread + "/status")
		if err != nil {
			all = false
			continue
		}
		s, err := p.read(f)
		_ = f.Close()
		if err == nil && s.known {
			p.thread = thread
			return s.Memory, true, nil
		}
		all = all && err == nil
	}
	if !all {
		return Memory{}, false, nil
	}
	return Memory{}, false, threads
}

// statusBytes is the most that is read of a status file. 65536 supplementary groups, the most that Linux allows, take 720 KB.
const statusBytes = 4 << 20

// read reads and parses a whole status file.
func (p *Process) read(f *os.File) (status, error) {
	for {
		n, err := f.ReadAt(p.text, 0)
		switch {
		case ended(err):
			return status{}, ErrEnded
		case errors.Is(err, io.EOF):
			return parse(p.text[:n])
		case err != nil:
			return status{}, err
		case len(p.text) >= statusBytes:
			return status{}, fmt.Errorf("%s: more than %d bytes", f.Name(), statusBytes)
		}
		p.text = make([]byte, 2*len(p.text))
	}
}

// ended reports whether an error of a file in /proc says that its process or thread is gone.
func ended(err error) bool { return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) }

// status is the parsed status of a thread (proc_pid_status(5)).
type status struct {
	Memory
	known   bool // the thread has memory, unlike one that has ended
	threads int64
}

func parse(text []byte) (s status, err error) {
	var huge int64 // huge pages, which no other line counts
	for line := range bytes.Lines(text) {
		key, value, _ := strings.Cut(string(line), ":")
		var field *int64
		switch key {
		case "Threads":
			field = &s.threads
		case "VmRSS":
			field, s.known = &s.Resident, true
		case "RssAnon":
			field = &s.Anonymous
		case "RssShmem":
			field = &s.Shared
		case "VmSwap":
			field = &s.Swapped
		case "VmPTE":
			field = &s.Tables
		case "HugetlbPages":
			field = &huge
		default:
			continue
		}
		number, kib := strings.CutSuffix(strings.TrimSpace(value), " kB")
		if *field, err = strconv.ParseInt(number, 10, 64); err != nil {
			return status{}, fmt.Errorf("%s: %w", key, err)
		}
		if kib {
			*field <<= 10
		}
	}
	s.Resident += huge
	s.Anonymous += huge
	return s, nil
}

// Cgroups returns the cgroup of a thread in each hierarchy (cgroups(7), /proc/PID/cgroup). The thread was alive at the last call of [Process.Read];
// it is the first thread if that was alive.
func (p *Process) Cgroups() ([]byte, error) { return p.folder.ReadFile(p.thread + "/cgroup") }

// Read returns the memory that the process with an id has now. Its errors are those of [Open] and [Process.Read].
func Read(pid int) (Memory, error) {
	p, err := Open(pid)
	if err != nil {
		return Memory{}, err
	}
	defer p.Close()
	return p.Read()
}
