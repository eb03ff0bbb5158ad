package gobuild

import "bytes"

// maxMemoryBytes limits the private memory of each process of a build, maxFileBytes the size of each file that it writes. Tests lower maxMemoryBytes.
var maxMemoryBytes uint64 = 2 << 30

const (
	maxFileBytes = 2 << 30
	// maxListBytes is how much of a go command's stdout is kept, and maxWords how much of its stderr. More output on stdout is an error.
	maxListBytes = 256 << 20
	maxWords     = 64 << 10
)

// head keeps the beginning of what is written to it, up to its limit most in bytes, and drops the rest.
type head struct {
	most int
	kept bytes.Buffer
	cut  bool
}

func (h *head) Write(p []byte) (int, error) {
	room := h.most - h.kept.Len()
	h.cut = h.cut || len(p) > room
	h.kept.Write(p[:min(len(p), room)])
	return len(p), nil
}
