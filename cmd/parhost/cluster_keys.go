//go:build !noserver

package main

import (
	"errors"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/parhost/parhost/host/cluster/server"
)

// newKeys returns the keys command, which makes the keys by which the server of a cluster knows its users.
func newKeys(s *streams) *cobra.Command {
	var users, tenant string
	cmd := &cobra.Command{
		Use:   "keys ROLE FILE",
		Short: "make a key for a submitter, a node or an operator of a cluster",
		Long: `Make a key. Its secret part goes to FILE, for --key of whoever it is for; its public part is added to the list of users, for parhost serve --users.
A submitter runs jobs of its tenant and uploads plugins; a node runs batches of all tenants; an operator may do everything.
The server reads the list when it starts.`,
		Example: "  parhost keys submitter alice.key --tenant alice --users users.json\n  parhost keys node node.key --users users.json",
		Args:    between(2, 2, "parhost keys node node.key --users users.json"),
		RunE: func(_ *cobra.Command, args []string) error {
			role := server.Role(args[0])
			if role == server.RoleSubmitter && tenant == "" {
				tenant = "default"
			}
			list, err := server.ReadUsers(users)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return usageError("mend the file, or name another", "%v", err)
			}
			seed, public, err := server.NewKey()
			if err != nil {
				return err
			}
			f, err := os.OpenFile(args[1], os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
			if err != nil {
				return usageError("give the name of a file that does not exist yet", "%v", err)
			}
			_, err = f.Write(append(seed, '\n'))
			if err = errors.Join(err, f.Close()); err == nil {
				err = server.WriteUsers(users, append(list, server.User{Key: public, Role: role, Tenant: tenant}))
			}
			if err != nil {
				_ = os.Remove(args[1])
				return usageError("the roles are submitter, node and operator; only a submitter has a --tenant", "%v", err)
			}
			s.say("parhost: %s has the secret key of a %s, and %s knows it by %s", args[1], role, users, public)
			return nil
		},
	}
	cmd.Flags().StringVar(&users, "users", "users.json", "the `file` with the list of users, which is made if it is not there")
	cmd.Flags().StringVar(&tenant, "tenant", "", "whose jobs a submitter runs (default \"default\")")
	return withExitCodes(cmd, "  0  done    2  wrong usage\n")
}
