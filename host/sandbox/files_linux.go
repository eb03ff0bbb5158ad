package sandbox

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// check returns an error if the program needs files that the policy does not open to it. started says that its loader or interpreter, and the
// libraries loaded with it, have been opened to it.
func (p *program) check(policy *Policy, started bool) error {
	script := p.script()
	if p.linker != "" && !filepath.IsAbs(p.linker) {
		return fmt.Errorf("%s: it is to be started by %q, which is no absolute path", p.path, p.linker)
	}
	if p.asksEnv && !policy.AllowFork {
		return fmt.Errorf("%s: its first line leaves it to another program to find the interpreter, which takes AllowFork: write the interpreter's own path there", p.path)
	}
	e := &NeedsFilesError{Path: p.path, Reason: "is linked dynamically, by " + p.linker, Static: !script}
	if script {
		e.Reason = "is a script for " + p.linker
		if policy.Level == Strict && !opens(policy, p.path) && (!started || !isShell(p.linker)) { // the interpreter has to find the script
			e.Folders = append(e.Folders, filepath.Dir(p.path))
		}
	}
	if p.linker != "" && !started && missing(policy, p.linker) != "" {
		e.Folders = append(e.Folders, p.libraries(policy)...)
	}
	if len(e.Folders) == 0 {
		return nil
	}
	return e
}

// libraries returns the folders of this machine that the loader or interpreter needs and that the policy does not open yet.
func (p *program) libraries(policy *Policy) []string {
	usual := []string{"/lib", "/lib64", "/usr/lib", "/usr/lib64"}
	if p.script() {
		usual = []string{"/bin", "/lib", "/lib64", "/usr"}
	}
	var folders []string
	covered := *policy
	covered.ReadOnly = slices.Clone(policy.ReadOnly)
	add := func(folder string) (all int) {
		if _, err := os.Stat(folder); err == nil && !opens(&covered, folder) {
			folders = append(folders, folder)
			covered.ReadOnly = append(covered.ReadOnly, Bind{Source: folder, Target: folder})
		}
		return len(folders)
	}
	for _, folder := range usual {
		add(folder)
	}
	// The loader or interpreter may lie elsewhere, in a bin or lib folder beside its own files. It may also be a link, as in Python's virtual
	// environments.
	for name := missing(&covered, p.linker); name != ""; name = missing(&covered, p.linker) {
		folder := filepath.Dir(name)
		if above := filepath.Dir(folder); above != "/" {
			folder = above
		}
		if before := len(folders); add(folder) == before {
			break
		}
	}
	return folders
}

// opens reports whether a policy lets a plugin find and run a host file. Basic decides by the file's real path, strict by its name.
func opens(policy *Policy, file string) bool {
	at := func(name string) string { return name }
	if policy.Level == Basic {
		at = really
	}
	file = at(file)
	return slices.ContainsFunc(policy.ReadOnly, func(b Bind) bool {
		return within(file, at(b.Target))
	})
}

// missing follows the links from a file and returns the first name that the policy does not show to the plugin, or empty if it shows all of them.
func missing(policy *Policy, file string) string {
	if policy.Level == Basic { // at basic a plugin sees all links
		switch {
		case opens(policy, file):
			return ""
		case !opens(policy, filepath.Dir(file)): // files beside the link may be needed as well
			return file
		}
		return really(file)
	}
	for range maxLinks {
		i := slices.IndexFunc(policy.ReadOnly, func(b Bind) bool { return within(file, b.Target) })
		if i < 0 {
			return file
		}
		next := followed(policy.ReadOnly[i], file)
		if next == "" {
			return ""
		}
		file = next
	}
	return file
}

// maxLinks is how many links the kernel follows (path_resolution(7)).
const maxLinks = 40

// followed resolves the first link in a name within a bind, and returns the resulting name in the sandbox; empty if the name has no link.
func followed(b Bind, file string) string {
	host, shown := b.Source, b.Target
	names := strings.Split(strings.Trim(strings.TrimPrefix(file, b.Target), "/"), "/")
	for i, name := range names {
		host = filepath.Join(host, name)
		link, err := os.Readlink(host)
		if err == nil {
			if !filepath.IsAbs(link) {
				link = filepath.Join(shown, link)
			}
			return filepath.Join(append([]string{link}, names[i+1:]...)...)
		}
		shown = filepath.Join(shown, name)
	}
	return ""
}

// really returns the path with all links resolved, or the name itself if that fails.
func really(name string) string {
	if target, err := filepath.EvalSymlinks(name); err == nil {
		return target
	}
	return name
}
