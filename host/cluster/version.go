package cluster

import (
	"fmt"
	"regexp"
	"strings"
	"sync"
)

// develVersion is the version of a program that was built from a work tree. It understands any other.
const develVersion = "devel"

// compatible reports whether two versions of parhost understand each other: the same major version, and minor versions at most one apart.
func compatible(a, b string) bool {
	major, minor, ok := parseVersion(a)
	otherMajor, otherMinor, otherOK := parseVersion(b)
	if !ok || !otherOK {
		return true
	}
	distance := max(minor, otherMinor) - min(minor, otherMinor)
	return major == otherMajor && distance <= 1
}

// parseVersion returns false for a version that is none of a release.
func parseVersion(v string) (major, minor int, ok bool) {
	v = strings.TrimPrefix(v, "v")
	if strings.HasPrefix(v, "0.0.0-") { // of a commit
		return 0, 0, false
	}
	n, _ := fmt.Sscanf(v, "%d.%d.", &major, &minor) // an error says that the rest is missing, which does not matter
	return major, minor, n == 2
}

var sumForm = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[0-9a-f]{64}$`) })

// pluginFile returns the part of a plugin's name that can be the name of a file.
func pluginFile(name string) string {
	if !wordForm().MatchString(name) {
		return "x"
	}
	return name
}
