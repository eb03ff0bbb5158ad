package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/parhost/parhost/internal/plain"
)

// newMan returns the hidden command that writes manual pages, for use by packagers.
//
// cobra has a package for manual pages, but it would add a Markdown and a YAML parser to this program. The pages are simple enough without it.
func newMan() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "man DIR",
		Short:   "write the manual pages into a folder",
		Example: "  parhost man ./man1",
		Args:    between(1, 1, "parhost man ./man1"),
		Hidden:  true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o777); err != nil {
				return usageError("give a folder that can be made", "%v", err)
			}
			folder, err := plain.OpenFolder(args[0])
			if err != nil {
				return usageError("give a folder that can be read", "%v", err)
			}
			defer folder.Close()
			return writeManPages(cmd.Root(), folder)
		},
	}
	return withExitCodes(cmd, "  0  written    2  wrong usage, or the folder cannot be written\n")
}

// writeManPages writes a manual page for a command and for each command below it.
func writeManPages(cmd *cobra.Command, folder *os.Root) error {
	cmd.InitDefaultHelpFlag()
	if err := plain.Put(folder, manName(cmd)+".1", 0o666, []byte(manPage(cmd))); err != nil {
		return err
	}
	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() {
			if err := writeManPages(sub, folder); err != nil {
				return err
			}
		}
	}
	return nil
}

func manName(cmd *cobra.Command) string { return strings.ReplaceAll(cmd.CommandPath(), " ", "-") }

// manPage returns the manual page of a command in man(7) format.
func manPage(cmd *cobra.Command) string {
	var b strings.Builder
	fmt.Fprintf(&b, ".TH %s 1 \"\" %s \"parhost manual\"\n", quoteRoff(strings.ToUpper(manName(cmd))), quoteRoff("parhost "+thisBuild().Version))
	fmt.Fprintf(&b, ".SH NAME\n%s \\- %s\n", escapeRoff(manName(cmd)), escapeRoff(cmd.Short))
	fmt.Fprintf(&b, ".SH SYNOPSIS\n.B %s\n", escapeRoff(cmd.UseLine()))
	long := cmd.Long
	if long == "" {
		long = cmd.Short
	}
	b.WriteString(".SH DESCRIPTION\n")
	for i, paragraph := range strings.Split(strings.TrimSpace(long), "\n\n") {
		if i > 0 {
			b.WriteString(".PP\n")
		}
		b.WriteString(escapeRoff(paragraph) + "\n")
	}
	manFlags(&b, "OPTIONS", cmd.NonInheritedFlags())
	manFlags(&b, "OPTIONS OF ALL THESE COMMANDS", cmd.InheritedFlags())
	if cmd.HasAvailableSubCommands() {
		b.WriteString(".SH COMMANDS\n")
		for _, sub := range cmd.Commands() {
			if sub.IsAvailableCommand() {
				fmt.Fprintf(&b, ".TP\n.BR %s (1)\n%s\n", escapeRoff(manName(sub)), escapeRoff(sub.Short))
			}
		}
	}
	if cmd.Example != "" {
		verbatim(&b, "EXAMPLES", cmd.Example)
	}
	if _, codes, ok := strings.Cut(cmd.UsageTemplate(), "Exit codes:\n"); ok {
		verbatim(&b, "EXIT STATUS", codes)
	}
	if cmd.HasParent() {
		fmt.Fprintf(&b, ".SH SEE ALSO\n.BR %s (1)\n", escapeRoff(manName(cmd.Parent())))
	}
	return b.String()
}

func manFlags(b *strings.Builder, title string, flags *pflag.FlagSet) {
	if !flags.HasAvailableFlags() {
		return
	}
	b.WriteString(".SH " + title + "\n")
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		kind, usage := pflag.UnquoteUsage(f)
		name := "--" + f.Name
		if f.Shorthand != "" {
			name = "-" + f.Shorthand + ", " + name
		}
		fmt.Fprintf(b, ".TP\n.B %s", escapeRoff(name))
		if kind != "" {
			fmt.Fprintf(b, " \\fI%s\\fR", escapeRoff(kind))
		}
		switch f.DefValue {
		case "", "0", "0s", "false", "[]":
		default:
			usage += " (default " + f.DefValue + ")"
		}
		b.WriteString("\n" + escapeRoff(usage) + "\n")
	})
}

// verbatim writes a section whose line breaks are kept.
func verbatim(b *strings.Builder, title, text string) {
	fmt.Fprintf(b, ".SH %s\n.nf\n%s\n.fi\n", title, escapeRoff(strings.Trim(text, "\n")))
}

// escapeRoff escapes everything in a text that roff would interpret: backslashes, hyphens that it would turn into dashes, and lines that look like
// requests (groff_char(7), groff(7)).
func escapeRoff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(text)
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
			lines[i] = `\&` + line
		}
	}
	return strings.Join(lines, "\n")
}

// quoteRoff turns a text into one macro argument.
func quoteRoff(text string) string {
	return `"` + strings.ReplaceAll(escapeRoff(text), `"`, `\(dq`) + `"`
}
