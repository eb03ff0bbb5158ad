package gobuild

import "context"

// CheckIncludes is what systems without a wall do before they build a folder.
func CheckIncludes(ctx context.Context, dir string) error {
	env, err := readEnv(ctx, dir)
	if err != nil {
		return err
	}
	s, err := findSources(ctx, dir, env, false)
	if err != nil {
		return err
	}
	return s.checkIncludes()
}
