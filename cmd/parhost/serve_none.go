//go:build noserver

package main

import "github.com/spf13/cobra"

// newServe returns the serve command, which this build does not have.
func newServe(*streams) *cobra.Command { return withoutServer("serve", "run a server") }

// newKeys returns the keys command, which this build does not have.
func newKeys(*streams) *cobra.Command { return withoutServer("keys", "make keys for a server") }

func withoutServer(name, short string) *cobra.Command {
	return &cobra.Command{
		Use:   name,
		Short: short + "; this parhost was built without one",
		RunE: func(*cobra.Command, []string) error {
			return usageError("a stock nats-server --jetstream does as well, or a parhost built without the tag noserver", "this parhost was built without a server")
		},
	}
}
