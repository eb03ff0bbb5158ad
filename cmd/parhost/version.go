package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"github.com/parhost/parhost/internal/wire"
)

// newVersion returns the version command.
func newVersion(s *streams) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "version",
		Short: "say which parhost this is",
		Long: `Say which parhost this is: its version and commit, the Go that built it, and the version of the protocol that it speaks with
plugins. Plugins of another protocol version do not start.`,
		Example: "  parhost version\n  parhost version --json",
		Args:    between(0, 0, "parhost version"),
		RunE: func(*cobra.Command, []string) error {
			b := thisBuild()
			if asJSON {
				return printJSON(s, b)
			}
			return s.out.printf("%s\n", b.layout())
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "a JSON object for programs")
	return withExitCodes(cmd, "  0  done    2  wrong usage\n")
}

// buildFacts describes how this program was built.
type buildFacts struct {
	Version  string `json:"version"`            // version of the module; "(devel)" if built from a work tree
	Commit   string `json:"commit,omitempty"`   // "" if Go did not record it (-buildvcs)
	Modified bool   `json:"modified,omitempty"` // the work tree differed from the commit
	Go       string `json:"go"`
	OS       string `json:"os"`
	Arch     string `json:"arch"`
	Protocol int    `json:"protocol"`
}

func thisBuild() buildFacts {
	b := buildFacts{Version: "(devel)", Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH, Protocol: wire.Version}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	if info.Main.Version != "" {
		b.Version = info.Main.Version
	}
	for _, setting := range info.Settings {
		switch setting.Key {
		case "vcs.revision":
			b.Commit = setting.Value
		case "vcs.modified":
			b.Modified = setting.Value == "true"
		}
	}
	return b
}

// released reports whether the program was built from a published version of its module. A build from a work tree records a commit; a build from a
// published version does not.
func (b buildFacts) released() bool {
	return b.Commit == "" && b.Version != "(devel)" && !strings.Contains(b.Version, "+dirty")
}

// layout returns the version text for people.
func (b buildFacts) layout() layout {
	commit := b.Commit
	if commit == "" {
		commit = "unknown"
	}
	if b.Modified {
		commit += ", modified"
	}
	return layout(fmt.Sprintf("parhost %s (commit %s)\n%s %s/%s, plugin protocol %d", b.Version, commit, b.Go, b.OS, b.Arch, b.Protocol))
}
