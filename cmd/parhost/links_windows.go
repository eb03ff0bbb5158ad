package main

import "io/fs"

// hasNames is always false: Windows opens no folders to workers.
func hasNames(fs.FileInfo) bool { return false }
