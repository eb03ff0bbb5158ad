//go:build !(linux && cgo)

package main

// saveAddressSpace does nothing: in this build, the C library reserves no memory for threads.
func saveAddressSpace() {}
