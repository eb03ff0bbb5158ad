//go:build linux && cgo

package main

import (
	"os"

	"golang.org/x/sys/unix"

	"github.com/parhost/parhost/internal/arena"
)

// saveAddressSpace starts this program again with MALLOC_ARENA_MAX=1 (mallopt(3)) where address space is limited (ulimit -v), unless the user has set
// the variable. The C library reserves 64 MiB for the memory of each thread, and 128 MiB while it does so; the program ends when nothing is left for
// the next thread's stack. The C library reads the variable before main. If the start fails, this program goes on.
func saveAddressSpace() {
	const variable = "MALLOC_ARENA_MAX"
	if _, set := os.LookupEnv(variable); set || arena.AddressSpace() == 0 {
		return
	}
	if exe, err := os.Executable(); err == nil {
		_ = unix.Exec(exe, os.Args, append(os.Environ(), variable+"=1"))
	}
}
