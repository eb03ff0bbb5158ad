package gobuild

import "bytes"

// mostMemoryBytes is what each process of a build may have of private memory, and mostFileBytes how large a file that it writes may become. Tests
// lower the first.
var mostMemoryBytes uint64 = 2 << 30

const (
	mostFileBytes = 2 << 30
	// mostListBytes and mostWords are how much a go command may say on stdout and on stderr.
	mostListBytes = 256 << 20
	mostWords     = 64 << 10
)

// head keeps the beginning of what is written to it.
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
