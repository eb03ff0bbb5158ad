//go:build !linux

package sandbox

import (
	"context"
	"fmt"
)

// hashed returns the checksum of a plugin that is hashed again before each start. It compares the checksum with want unless that is empty. It returns
// an empty checksum if want is empty and the plugin can be executed but not read as a file, such as an alias of Windows.
func hashed(ctx context.Context, plugin, want string) (string, error) {
	got, err := checksumOf(ctx, plugin)
	if ctx.Err() != nil {
		return "", fmt.Errorf("sandbox: read %s: %w", plugin, context.Cause(ctx))
	}
	if err != nil && want == "" {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return got, compare(plugin, want, got)
}
