//go:build !unix

package plain

import "os"

// Windows has no pipes and devices among the files of a folder.
const noWait, noFollow = 0, 0

// syncNames has nothing to do: here a file's own sync is all there is.
func syncNames(*os.File) error { return nil }
