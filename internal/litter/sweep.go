package litter

import (
	"context"
	"os"
	"path/filepath"
	"strings"
)

// isOurs reports whether makeFolder may have made a folder, judged by its name.
func isOurs(prefix, name string) bool {
	rest, found := strings.CutPrefix(name, prefix+"-")
	pid, number, _ := strings.Cut(rest, "-")
	return found && isDigits(pid) && isDigits(number)
}

func isDigits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

// sweep removes the folders beside own, which is this host's, that killed hosts have left behind. It stops when ctx ends.
func sweep(ctx context.Context, prefix, own string) {
	base := filepath.Dir(own)
	folder, err := os.Open(base)
	if err != nil {
		return
	}
	defer folder.Close()
	for ctx.Err() == nil {
		names, err := folder.Readdirnames(1024)
		for _, name := range names {
			if isOurs(prefix, name) && name != filepath.Base(own) {
				sweepFolder(ctx, filepath.Join(base, name))
			}
		}
		if err != nil {
			return
		}
	}
}
