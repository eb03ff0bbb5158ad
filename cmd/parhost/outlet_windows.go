package main

import (
	"io"
	"os"
)

// waitForRoom reports whether to write again. It always returns false: pipes on Windows are never non-blocking.
func waitForRoom(*os.File, error) bool { return false }

func patient(r io.Reader) io.Reader { return r }

// waiting reports whether a pipe or a socket has data to read. Windows cannot tell, so it returns false.
func waiting(*os.File) bool { return false }
