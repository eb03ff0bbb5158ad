package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/host/sandbox"
	"github.com/parhost/parhost/internal/bound"
	"github.com/parhost/parhost/internal/plain"
)

// lockName is the lock file that parhost looks for in the working folder. Like go.sum it applies without a flag: it can only stop plugins from
// running, and a file that must be named each time would be forgotten at some point.
const lockName = "parhost.lock"

// noLock is the value of --lock that ignores any lock file.
const noLock = "none"

// pins holds the flags that restrict which executables may run, by their SHA-256.
type pins struct {
	checksum string
	lock     string
}

func (p *pins) flags(f *pflag.FlagSet) {
	p.checksumFlag(f)
	p.lockFlag(f)
}

func (p *pins) checksumFlag(f *pflag.FlagSet) {
	f.StringVar(&p.checksum, "checksum", "", "run the plugin only if the SHA-256 of its executable is this: `sha256:HEX`")
}

func (p *pins) lockFlag(f *pflag.FlagSet) {
	f.StringVar(&p.lock, "lock", "", "run only what this lock `file` holds, with the checksum that it has there; none = whatever is there (default "+lockName+" if it is there)")
}

var sha256Form = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[0-9a-f]{64}$`) })

// hold restricts a config from pluginConfig to the executable that the flags and the lock file allow.
func (p *pins) hold(cfg *host.Config) error {
	want := strings.ToLower(strings.TrimPrefix(p.checksum, "sha256:"))
	if p.checksum != "" && !sha256Form().MatchString(want) {
		return usageError("write sha256: and 64 digits, as in sha256sum's output", "--checksum %q is no SHA-256", p.checksum)
	}
	if cfg.Workload != nil { // the workload is part of this program, which runs already
		if want != "" {
			return usageError("leave --checksum out; how parhost itself came here is for who installed it to check", "--checksum: %s is linked into parhost", cfg.Workload.Manifest().Name)
		}
		if p.lock == "" {
			return nil
		}
	}
	l, err := p.read()
	if err != nil || cfg.Workload != nil {
		return err
	}
	if l != nil {
		i := slices.IndexFunc(l.Plugins, func(e locked) bool { return e.is(nameOf(cfg.Plugin)) })
		switch {
		case i < 0:
			return &exitError{
				code: exitNoWorker, err: fmt.Errorf("plugin %q: %s has none of this name for %s/%s", nameOf(cfg.Plugin), l.path, runtime.GOOS, runtime.GOARCH),
				hint: fmt.Sprintf("parhost plugins lock %s adds it as it is now; --lock %s runs it all the same", quote(cfg.Plugin), noLock),
			}
		case want != "" && want != l.Plugins[i].SHA256:
			return usageError("leave one of them out", "--checksum is %s, and %s has %s", want, l.path, l.Plugins[i].SHA256)
		}
		want = l.Plugins[i].SHA256
	}
	cfg.Checksum = want
	return nil
}

// anotherPlugin returns the hint for an executable whose checksum is not the expected one.
func anotherPlugin(e *sandbox.ChecksumError) string {
	return fmt.Sprintf("get the executable that was meant, or, if this one is: parhost plugins lock %s, or --checksum sha256:%s", quote(e.Path), e.Got)
}

// lockFile is the content of a lock file.
type lockFile struct {
	Format  int      `json:"lock"`
	Plugins []locked `json:"plugins"`

	path string
}

// lockFormat is the version of the file format that parhost writes, and the only one that it reads.
const lockFormat = 1

// locked is the entry of one plugin for one system and architecture.
type locked struct {
	Name    string `json:"name"`
	OS      string `json:"os"`
	Arch    string `json:"arch"`
	SHA256  string `json:"sha256"`
	Version string `json:"version,omitempty"` // version in the manifest, for people only
}

// is reports whether this is the entry of the named plugin for the system and architecture of this program.
func (e *locked) is(name string) bool {
	return e.Name == name && e.OS == runtime.GOOS && e.Arch == runtime.GOARCH
}

// nameOf returns the name of a plugin from its file name. The manifest's name is not used, because the plugin must not run before its entry is found.
func nameOf(path string) string {
	base := filepath.Base(path)
	if runtime.GOOS == "windows" {
		base = strings.TrimSuffix(base, ".exe")
	}
	return strings.TrimPrefix(base, "parhost-plugin-")
}

// read returns the lock file that applies, or nil if there is none.
func (p *pins) read() (*lockFile, error) {
	switch p.lock {
	case noLock:
		return nil, nil
	case "":
		if _, err := os.Lstat(lockName); errors.Is(err, fs.ErrNotExist) { // Lstat also finds a dangling symbolic link, which readLock then reports
			return nil, nil
		}
		return readLock(lockName)
	default:
		return readLock(p.lock)
	}
}

// maxLock is the largest size of a lock file that is read, in bytes. It is enough for tens of thousands of plugins.
const maxLock = 4 << 20

func readLock(path string) (*lockFile, error) {
	text, err := plain.Read(path, maxLock)
	if err != nil {
		return nil, &exitError{code: exitUsage, err: fmt.Errorf("lock file: %w", err), hint: lockHint}
	}
	l := &lockFile{path: path}
	if err := json.Unmarshal(text, l); err != nil {
		return nil, usageError(lockHint, "lock file %q: %v", path, err)
	}
	if l.Format != lockFormat {
		return nil, usageError("it may be of another version of parhost", "lock file %q has the form %d, this parhost reads %d", path, l.Format, lockFormat)
	}
	seen := map[locked]bool{}
	for _, e := range l.Plugins {
		key := locked{Name: e.Name, OS: e.OS, Arch: e.Arch}
		switch {
		case e.Name == "" || !sha256Form().MatchString(e.SHA256):
			return nil, usageError(lockHint, "lock file %q: plugin %q has the checksum %q, want 64 digits", path, e.Name, e.SHA256)
		case seen[key]:
			return nil, usageError("take out the one that is not meant", "lock file %q: plugin %q is there twice for %s/%s", path, e.Name, e.OS, e.Arch)
		}
		seen[key] = true
	}
	return l, nil
}

// write sorts the entries and replaces the file atomically.
func (l *lockFile) write(s *streams) error {
	slices.SortFunc(l.Plugins, func(a, b locked) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.OS, b.OS), strings.Compare(a.Arch, b.Arch))
	})
	text, err := json.MarshalIndent(l, "", "  ")
	if err != nil {
		return err
	}
	path, name := plain.Split(l.path)
	folder, err := plain.OpenFolder(path)
	if err != nil {
		return err
	}
	defer folder.Close()
	return replace(s.say, folder, name, l.path, append(plainJSON(text), '\n'))
}

func newPluginsLock(s *streams, dirs *[]string, p *pins) *cobra.Command {
	var a asking
	b := building{say: s.say}
	cmd := &cobra.Command{
		Use:   "lock [NAME|PATH...]",
		Short: "write down which bytes each plugin is, so that no others run",
		Long: `Write the SHA-256 of each plugin's executable into ` + lockName + `, or into --lock FILE: of those that are named, or of all that parhost plugins list
finds as executables. What the file holds of others stays. Each is started once, in a sandbox where there is one, and asked for its version, as
the bytes that were hashed.

Where such a file is in the working folder, or is named with --lock, parhost runs what it holds with these bytes, and nothing else.
Plugins are known by the names of their files, without parhost-plugin-, and one entry holds for one system and architecture. A Go package
folder is built, and what came of it is locked: another version of Go, or other sources, make other bytes. Workloads that are linked
into parhost need no entry: they are parhost itself.`,
		Example: "  parhost plugins lock\n  parhost plugins lock ./parhost-plugin-mine && git add " + lockName,
		Args:    cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := interruptible(cmd, s)
			defer stop()
			return whenInterrupted(ctx, lockPlugins(ctx, s, &a, b, args, *dirs, p.lock))
		},
	}
	a.flag(cmd.Flags())
	b.flag(cmd.Flags())
	return withExitCodes(cmd, pluginExitCodes)
}

func lockPlugins(ctx context.Context, s *streams, a *asking, b building, names, dirs []string, path string) error {
	if path == noLock {
		return usageError("write --lock FILE, or leave it out for "+lockName, "--lock %s: there is nothing to write to", noLock)
	}
	l, err := readLock(cmp.Or(path, lockName))
	if errors.Is(err, fs.ErrNotExist) {
		l, err = &lockFile{Format: lockFormat, path: cmp.Or(path, lockName)}, nil
	}
	if exit, ok := errors.AsType[*exitError](err); ok {
		return &exitError{code: exit.code, err: exit.err, hint: "move it away, and a new one is written"}
	}
	if len(names) == 0 {
		for _, path := range host.Installed(dirs...) {
			names = append(names, path)
		}
		slices.Sort(names)
	}
	if len(names) == 0 {
		return usageError("parhost plugins lock ./my-plugin", "there are no executables parhost-plugin-NAME in %s", strings.Join(host.SearchDirs(dirs...), ", "))
	}
	w := newTable("name", "version", "sha256", "where")
	for _, name := range names {
		e, where, err := lockPlugin(ctx, a, b, name, dirs)
		if err != nil {
			return err
		}
		l.Plugins = append(slices.DeleteFunc(l.Plugins, func(old locked) bool { return old.is(e.Name) }), e)
		w.row(e.Name, shorten(e.Version, cellWidth), e.SHA256, where)
	}
	if err := l.write(s); err != nil {
		return &exitError{code: exitUsage, err: fmt.Errorf("write the lock file: %w", err)}
	}
	s.say("parhost: wrote %q", l.path)
	return s.out.printf("%s\n", w.layout())
}

// lockPlugin computes the checksum of a plugin and asks the plugin for its version. The start checks the same checksum, so that no other executable
// can answer.
func lockPlugin(ctx context.Context, a *asking, b building, name string, dirs []string) (e locked, where string, err error) {
	cfg, err := pluginConfig(ctx, name, dirs, b)
	if err != nil {
		return e, "", err
	}
	if cfg.Workload != nil {
		return e, "", usageError("a workload of parhost's own needs no entry", "%s is linked into parhost", name)
	}
	if cfg.Checksum, err = sandbox.Checksum(cfg.Plugin); err != nil {
		return e, "", &exitError{code: exitNoWorker, err: fmt.Errorf("checksum of the plugin: %w", err)}
	}
	m, err := a.ask(ctx, cfg)
	return locked{nameOf(cfg.Plugin), runtime.GOOS, runtime.GOARCH, cfg.Checksum, bound.Text(m.Version, 200)}, cfg.Plugin, err
}
