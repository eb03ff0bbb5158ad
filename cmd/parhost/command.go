package main

import (
	"context"
	"os/signal"

	"github.com/spf13/cobra"
)

// Helpers that several sub-commands share.

// withExitCodes ends the help text of a command with the exit codes of that command. It replaces the exit codes of a run.
func withExitCodes(cmd *cobra.Command, codes string) *cobra.Command {
	cmd.SetUsageTemplate(cmd.UsageTemplate() + "\nExit codes:\n" + codes + "  1  also: the output cannot be written\n")
	return cmd
}

// between checks the number of a command's arguments; a negative most means no limit. example is the command line that the error suggests.
func between(least, most int, example string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			return usageError("for example: "+example, "%s: something is missing behind it", cmd.CommandPath())
		case most >= 0 && len(args) > most:
			return usageError("for example: "+example, "%s: %q is one argument too many", cmd.CommandPath(), args[most])
		}
		return nil
	}
}

// groupOnly returns the action of a command that only has sub-commands: it shows the help, and refuses arguments.
func groupOnly(example string) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return usageError("for example: "+example, "%s has no command %q", cmd.CommandPath(), args[0])
		}
		return cmd.Help()
	}
}

// interruptible returns a context that the first signal cancels, for commands that clean up after themselves. After that signal, writes no longer
// wait for slow readers of stdout and stderr. A second signal ends the process at once, because the command may be in a call that ignores its
// context.
func interruptible(cmd *cobra.Command, s *streams) (context.Context, context.CancelFunc) {
	ctx, stop := context.WithCancel(cmd.Context())
	if list := endSignals(); len(list) > 0 { // NotifyContext without signals would catch all of them
		ctx, stop = signal.NotifyContext(ctx, list...)
	}
	calm := context.AfterFunc(ctx, func() {
		stop() // restores the default action of the signals
		s.outlets.hurry(patienceAtEnd)
	})
	return ctx, func() {
		calm()
		stop()
	}
}

// whenInterrupted returns the error of an interrupted command, err otherwise.
func whenInterrupted(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return &exitError{code: exitInterrupted, err: errInterrupted}
	}
	return err
}
