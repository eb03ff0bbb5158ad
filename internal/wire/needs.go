package wire

import (
	"fmt"
	"path/filepath"
	"strings"
	"unicode"

	"github.com/parhost/parhost/internal/wire/workerpb"
)

// Limits of a manifest's needs. Hosts show the needs to people, as flags to copy.
const (
	maxNeededPaths    = 16
	longestNeededPath = 256
)

// CheckNeeds checks the needs that a plugin's manifest states.
func CheckNeeds(n *workerpb.Needs) error {
	if paths := len(n.GetRead()) + len(n.GetWrite()); paths > maxNeededPaths {
		return fmt.Errorf("needs: %d paths, the limit is %d", paths, maxNeededPaths)
	}
	for _, paths := range [][]string{n.GetRead(), n.GetWrite()} {
		for _, p := range paths {
			switch {
			case len(p) > longestNeededPath:
				return fmt.Errorf("needs: a path of %d bytes, the limit is %d", len(p), longestNeededPath)
			case !filepath.IsAbs(p) || filepath.Clean(p) != p:
				return fmt.Errorf("needs: path %q, want an absolute one in its shortest form", p)
			case strings.ContainsFunc(p, func(r rune) bool { return !unicode.IsPrint(r) }):
				return fmt.Errorf("needs: path %q has characters that cannot be shown", p)
			case strings.Contains(p[len(filepath.VolumeName(p)):], ":"):
				// As a flag, SRC[:DST], such a path would open something else.
				return fmt.Errorf("needs: path %q has a colon, which separates two paths where one is opened", p)
			}
		}
	}
	if n.GetMemoryBytes() > 1<<62 {
		return fmt.Errorf("needs: %d bytes of memory, the limit is %d", n.GetMemoryBytes(), int64(1)<<62)
	}
	return nil
}
