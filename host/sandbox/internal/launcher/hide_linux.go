package launcher

import (
	"syscall"
	"unsafe"
)

// hide puts the plugin's name, arguments and environment at random addresses, because the filter allows execve with exactly these pointers. The
// plugin has its own memory and does not learn the addresses. It would have to try about 2^80 of them.
func (l *launcher) hide() error {
	name := l.spec.Path
	if l.spec.Exec >= 0 {
		name = "" // the descriptor itself is executed
	}
	memory, at, err := l.hidden(len(name) + 1)
	if err != nil {
		return err
	}
	copy(memory, name)
	l.name = at
	if l.argv, err = l.hideList(l.spec.Args); err != nil {
		return err
	}
	l.envv, err = l.hideList(l.spec.Env)
	return err
}

// hideList hides texts in the form that execve takes: a list of pointers that ends with a null pointer.
func (l *launcher) hideList(texts []string) (uintptr, error) {
	const pointer = int(unsafe.Sizeof(uintptr(0)))
	bytes := (len(texts) + 1) * pointer
	for _, s := range texts {
		bytes += len(s) + 1
	}
	memory, at, err := l.hidden(bytes)
	if err != nil {
		return 0, err
	}
	pointers := unsafe.Slice((*uintptr)(unsafe.Pointer(&memory[0])), len(texts)+1)
	next := len(pointers) * pointer
	for i, s := range texts {
		pointers[i] = at + uintptr(next)
		next += copy(memory[next:], s) + 1
	}
	return at, nil
}

// hidden returns zeroed memory. If there is a filter, its address is random: a random page in the whole address space, and in that page a random
// multiple of 8.
func (l *launcher) hidden(bytes int) ([]byte, uintptr, error) {
	if len(l.spec.Filter) == 0 {
		memory := make([]uint64, bytes/8+1)
		l.kept = append(l.kept, memory)
		first := unsafe.Pointer(&memory[0])
		return unsafe.Slice((*byte)(first), bytes), uintptr(first), nil
	}
	page := uintptr(syscall.Getpagesize()) // up to 64 KiB on arm64; the kernel maps whole pages only
	size := (uintptr(bytes) + 2*page) &^ (page - 1)
	var at uintptr
	errno := syscall.ENOMEM
	for bits := 46; bits > 32 && errno != 0; bits-- { // addresses of a process have 46 bits on most machines, fewer on some
		drawn, err := l.random()
		if err != nil {
			return nil, 0, err
		}
		wish := uintptr(drawn&(1<<bits-1)) &^ (page - 1)
		at, _, errno = syscall.RawSyscall6(syscall.SYS_MMAP, wish, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE|syscall.MAP_ANON|mapFixedNoReplace, ^uintptr(0), 0)
	}
	if errno != 0 {
		return nil, 0, failed("mmap", errno)
	}
	drawn, err := l.random()
	if err != nil {
		return nil, 0, err
	}
	at += uintptr(drawn) % page &^ 7
	return unsafe.Slice(*(**byte)(unsafe.Pointer(&at)), bytes), at, nil // memory that Go does not know of
}

func (l *launcher) random() (n uint64, err error) {
	_, _, errno := syscall.RawSyscall(l.spec.GetRandom, uintptr(unsafe.Pointer(&n)), unsafe.Sizeof(n), 0)
	if errno != 0 {
		return 0, failed("getrandom", errno)
	}
	return n, nil
}
