package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// While a plugin in a sandbox is asked for its manifest, its file is held in memory. At level off it is not.
func TestLargePluginsAreAskedOneByOne(t *testing.T) {
	own, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	head := make([]byte, 4096) // the part of the file that names its dynamic loader
	if _, err := io.ReadFull(own, head); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		path := filepath.Join(dir, fmt.Sprintf("parhost-plugin-large%d", i))
		if err := errors.Join(os.WriteFile(path, head, 0o755), os.Truncate(path, 2*largePlugin)); err != nil {
			t.Fatal(err)
		}
	}
	over, most := make(chan struct{}), make(chan int)
	go func() {
		seen := 0
		for {
			select {
			case <-over:
				most <- seen
				return
			default:
				n, before := 0, largeFilesInMemory()
				for ino := range largeFilesInMemory() {
					if before[ino] { // a file seen both times was there in between for certain
						n++
					}
				}
				seen = max(seen, n)
			}
		}
	}()
	code, stdout, stderr := call(t, nil, "plugins", "list", "--json", "--plugin-dir", dir)
	close(over)
	if n := <-most; n > 1 || code != exitOK {
		t.Errorf("got %d large plugins in memory at once and exit code %d, want at most 1, and %d; stdout %s, stderr %s", n, code, exitOK, stdout, stderr)
	}
}

// largeFilesInMemory returns the inodes of this process's open memory files (memfd) that are not empty.
func largeFilesInMemory() map[uint64]bool {
	names, _ := filepath.Glob("/proc/self/fd/*")
	large := map[uint64]bool{}
	for _, name := range names {
		target, _ := os.Readlink(name)
		if info, err := os.Stat(name); err == nil && target == "/memfd:parhost-plugin (deleted)" && info.Size() >= 1<<20 {
			large[info.Sys().(*syscall.Stat_t).Ino] = true
		}
	}
	return large
}
