package host

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// socketNameBytes is what go-plugin adds to the private folder: two names with random numbers of up to ten digits.
const socketNameBytes = len("/plugin-dir4294967295/plugin4294967295")

// longestSocket is the length that a socket's path may have everywhere: the kernels' limits are 104 and 108 bytes, with a zero.
const longestSocket = 103

// privateDir makes a folder that only this user can enter, with a path short enough for sockets: theirs end at 104 to 108 bytes.
func privateDir(base string) (string, error) {
	if base == "" {
		base = os.TempDir()
		if len(base)+len("/parhost-4194304-4294967295")+socketNameBytes > longestSocket && !usesTCP {
			base = "/tmp" // as on macOS, where each user's own folder has a long name
		}
	}
	dir, err := os.MkdirTemp(base, fmt.Sprintf("parhost-%d-", os.Getpid()))
	if err != nil {
		return "", fmt.Errorf("make a folder for sockets: %w", err)
	}
	if longest := len(dir) + socketNameBytes; !usesTCP && longest > longestSocket {
		_ = os.Remove(dir)
		return "", fmt.Errorf("a socket in %q would have a path of %d bytes, the limit is %d (set Config.TempDir to a shorter one)", base, longest, longestSocket)
	}
	return dir, nil
}

// isPrivate reports whether a folder may have been made by privateDir, by its name.
func isPrivate(name string) bool {
	pid, number, _ := strings.Cut(strings.TrimPrefix(name, "parhost-"), "-")
	return strings.HasPrefix(name, "parhost-") && isDigits(pid) && isDigits(number)
}

func isDigits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

// sweep removes the private folders in base that hosts left behind which were killed, until ctx ends.
func sweep(ctx context.Context, base string) {
	folder, err := os.Open(base)
	if err != nil {
		return
	}
	defer folder.Close()
	for ctx.Err() == nil {
		names, err := folder.Readdirnames(1024)
		for _, name := range names {
			if isPrivate(name) {
				sweepDir(ctx, filepath.Join(base, name))
			}
		}
		if err != nil {
			return
		}
	}
}
