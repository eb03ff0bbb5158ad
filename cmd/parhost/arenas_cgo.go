//go:build linux && cgo

package main

import (
	"os"

	"golang.org/x/sys/unix"

	"github.com/parhost/parhost/internal/arena"
)

// saveAddressSpace restarts this program with MALLOC_ARENA_MAX=1 (mallopt(3)) if address space is limited (ulimit -v), unless the user has set the
// variable. Otherwise the C library reserves 64 MiB of address space for each thread, and 128 MiB while it does so, and the program dies when none is
// left for the next thread's stack. A restart is needed because the C library reads the variable before main. If exec fails, this program continues
// as it is.
func saveAddressSpace() {
	const variable = "MALLOC_ARENA_MAX"
	if _, set := os.LookupEnv(variable); set || arena.AddressSpace() == 0 {
		return
	}
	if exe, err := os.Executable(); err == nil {
		_ = unix.Exec(exe, os.Args, append(os.Environ(), variable+"=1"))
	}
}
