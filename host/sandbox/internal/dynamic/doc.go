// Package dynamic reads which files a dynamically linked program names: its loader, its libraries, and the folders to find them in.
//
// It reads what the kernel and the loader read, program headers and the dynamic segment, and executes nothing. Whatever a file says, reading it takes
// a bounded time and memory.
package dynamic
