package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/host/sandbox"
	"github.com/parhost/parhost/protocol"
)

// lacking returns the flags that would give a plugin what its manifest needs and the policy does not grant. Only people may add them, because a
// plugin can ask for anything.
func lacking(n protocol.Needs, p sandbox.Policy) []string {
	var flags []string
	if p.Level > sandbox.Off {
		if n.Network && !p.AllowNet {
			flags = append(flags, "--allow-net")
		}
		if n.Processes && !p.AllowFork {
			flags = append(flags, "--allow-fork")
		}
		for _, path := range n.Read {
			if !opened(path, p.ReadOnly) && !opened(path, p.ReadWrite) {
				flags = append(flags, "--ro "+quote(path))
			}
		}
		for _, path := range n.Write {
			if !opened(path, p.ReadWrite) {
				flags = append(flags, "--rw "+quote(path))
			}
		}
	}
	if p.MemoryBytes > 0 && n.MemoryBytes > p.MemoryBytes {
		flags = append(flags, fmt.Sprintf("--memory %dMiB", (n.MemoryBytes-1)>>20+1))
	}
	return flags
}

// opened reports whether one of the binds makes the path visible to a plugin.
func opened(path string, binds []sandbox.Bind) bool {
	for _, b := range binds {
		folder := b.Target
		if folder == "" {
			folder = b.Source
		}
		if path == folder || strings.HasPrefix(path, strings.TrimSuffix(folder, "/")+"/") {
			return true
		}
	}
	return false
}

// quote quotes a text for a POSIX shell, so that it is exactly one word whatever it contains.
func quote(word string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-+,@%", r)
	}
	if word != "" && !strings.ContainsFunc(word, func(r rune) bool { return !plain(r) }) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// sayNeeds prints, in one line, the flags that would give a plugin what it needs and does not have.
func (s *streams) sayNeeds(m protocol.Manifest, p sandbox.Policy) {
	if flags := lacking(m.Needs, p); len(flags) > 0 {
		s.say("parhost: hint: %s says that it needs what it is not given; if you trust it with that, add: %s", shorten(m.Name, cellWidth), strings.Join(flags, " "))
	}
}

// sayNeedsOf prints what a plugin needs if its set-up failed in a sandbox, perhaps because these needs were not granted. It takes the manifest from
// the failed start, because another start could take up to --start-timeout.
func (s *streams) sayNeedsOf(err error, p sandbox.Policy) {
	if e, ok := errors.AsType[*host.StartError](err); ok && e.Stage == "set-up" && p.Level > sandbox.Off {
		s.sayNeeds(e.Manifest, p)
	}
}
