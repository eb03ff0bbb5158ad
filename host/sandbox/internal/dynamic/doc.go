// Package dynamic reads which files a dynamically linked program needs: its loader, its libraries, and the folders in which to find them.
//
// It reads what the kernel and the loader read, which is the program headers and the dynamic segment, and executes nothing. Reading takes bounded
// time and memory, whatever the file contains.
package dynamic
