//go:build linux

package sandbox

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// OpenWithout opens a box that lacks layers: "seccomp", "landlock", "namespaces", or everything that came to Landlock with an ABI version or later,
// such as "landlock 3".
func OpenWithout(policy Policy, plugin string, without ...string) (*Box, error) {
	policy, err := policy.complete()
	if err != nil {
		return nil, err
	}
	s := seams{noSeccomp: slices.Contains(without, "seccomp"), noNamespaces: slices.Contains(without, "namespaces")}
	for _, layer := range without {
		if version, ok := strings.CutPrefix(layer, "landlock"); ok {
			since, _ := strconv.Atoi(strings.TrimSpace(version))
			s.landlock = cmp.Or(since-1, -1)
		}
	}
	return openBox(context.Background(), policy, plugin, "", s)
}

// OpenAtOnce is [Open] without the rehearsal.
func OpenAtOnce(ctx context.Context, policy Policy, plugin, checksum string) (*Box, error) {
	policy, err := policy.complete()
	if err != nil {
		return nil, err
	}
	return openBox(ctx, policy, plugin, checksum, seams{})
}

// Functions that tests use.
var (
	BoxPrefix     = boxPrefix
	CgroupFolders = func() ([]string, error) { return folders("") }
	Rehearsed     = func(ctx context.Context, level Level) error { return rehearsed(ctx, play{level: level}) }
	Controller    = controller
	RemoveCgroup  = func(folder string) { removeCgroups(time.Now().Add(2*time.Second), folder) }
)

// ThreadsOf counts the threads of a user. It returns 0 on errors.
func ThreadsOf(uid int) int64 {
	n, _ := threadsOf(uid)
	return n
}

// CgroupOf returns the folder, of version 1 or 2, in which boxes make their folders for a controller.
func CgroupOf(controller string) (folder string, err error) {
	all, err := hierarchies("")
	if err != nil {
		return "", err
	}
	for _, h := range all {
		if h.version == 1 && h.err == nil && slices.Contains(h.controllers, controller) {
			return h.parent, nil
		}
	}
	return CgroupVersion2(controller)
}

// CgroupVersion2 returns the version 2 folder in which boxes make their folders, and enables a controller for its children.
func CgroupVersion2(controller string) (folder string, err error) {
	all, err := hierarchies("")
	if err != nil {
		return "", err
	}
	for _, h := range all {
		if h.version == 2 && h.err == nil && slices.Contains(h.controllers, controller) {
			return h.parent, passOn(h.parent, []string{controller})
		}
	}
	return "", fmt.Errorf("no cgroups of version 2 that can be written to have %s: %w", controller, ErrNotSupported)
}

// folders returns the folders in which boxes make theirs.
func folders(below string) ([]string, error) {
	all, err := hierarchies(below)
	var parents []string
	for _, h := range all {
		parents = append(parents, h.parent)
	}
	return parents, err
}
