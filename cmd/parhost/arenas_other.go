//go:build !(linux && cgo)

package main

// saveAddressSpace has nothing to do: no thread of this program reserves memory for the C library.
func saveAddressSpace() {}
