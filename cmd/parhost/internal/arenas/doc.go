// Package arenas keeps the C library from using up a limited address space, for programs that import it.
//
// The C library reserves 64 MiB of address space for each thread, and 128 MiB while it does so. If address space is limited (ulimit -v), the program dies
// when none is left for the next thread's stack. So it is started again with MALLOC_ARENA_MAX=1 (mallopt(3)), unless the user has set the variable. That
// has to happen before other packages are initialized, because some of them start threads: this package depends on package os alone, and so comes first.
package arenas
