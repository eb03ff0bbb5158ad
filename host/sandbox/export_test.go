//go:build linux

package sandbox

import "slices"

// OpenWithout opens a box that lacks layers: seccomp, landlock, namespaces.
func OpenWithout(policy Policy, plugin string, without ...string) (*Box, error) {
	policy, err := policy.complete()
	if err != nil {
		return nil, err
	}
	return openBox(policy, plugin, "", seams{
		noSeccomp: slices.Contains(without, "seccomp"), noLandlock: slices.Contains(without, "landlock"), noNamespaces: slices.Contains(without, "namespaces"),
	})
}

// What tests look at.
var (
	LandlockABI   = landlockABI
	BoxPrefix     = boxPrefix
	CgroupFolders = func() ([]string, error) { return folders("") }
	Rehearsed     = rehearsed
)

// folders are those in which boxes have theirs.
func folders(below string) ([]string, error) {
	all, err := hierarchies(below)
	var parents []string
	for _, h := range all {
		parents = append(parents, h.parent)
	}
	return parents, err
}
