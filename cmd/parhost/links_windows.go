package main

import "io/fs"

// hasNames always returns false: on Windows, sandboxes open no folders to workers, so hard links do not matter.
func hasNames(fs.FileInfo) bool { return false }
