package sandbox

import "os"

// self is a name of the executable of this process. It works even if that file has been replaced or removed. The kernel refuses writes to the file.
const self = "/proc/self/exe"

// Self returns the name of this program for [Open] and [Checksum].
func Self() (string, error) {
	_, err := os.Readlink(self) // fails if /proc is not mounted
	return self, err
}
