//go:build !noserver

package main

import (
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/parhost/parhost/host/cluster/server"
)

// newServe returns the serve command.
func newServe(s *streams) *cobra.Command {
	var o serveOptions
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "run a server, over which parhost uses the machines of a cluster",
		Long: `Run a server that carries batches of items from parhost --cluster to the machines that run parhost worker. It is a nats-server with
JetStream inside this process; a stock nats-server does as well. What it has accepted is on disk before it says so.

By default only programs on this machine reach it.`,
		Example: `  parhost serve
  parhost serve --listen 10.0.0.1:4222 --tls-cert s.pem --tls-key s.key --tls-ca ca.pem --users users.json`,
		Args: between(0, 0, "parhost serve"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := interruptible(cmd, s)
			defer stop()
			cfg, err := o.config(s)
			if err != nil {
				return err
			}
			srv, err := server.Open(cfg)
			if err != nil {
				return &exitError{code: exitNoWorker, err: err}
			}
			defer srv.Shutdown()
			seen, err := o.sight.open(ctx, s, srv, cfg.Logger)
			if err != nil {
				return err
			}
			defer seen.close()
			s.say("parhost: serving at %s, keeping data in %s", srv.URL(), cfg.Store)
			if len(cfg.Peers) > 0 {
				s.say("parhost: waiting for the other servers")
			}
			if err := srv.MakeStreams(ctx); ctx.Err() != nil { // it was told to end before the others were there
				return nil
			} else if err != nil {
				return whenInterrupted(ctx, &exitError{code: exitNoWorker, err: err})
			}
			s.say("parhost: on each machine: parhost worker --cluster %s", srv.URL())
			<-ctx.Done()
			s.say("parhost: the server ends; what it has stored stays in %s", cfg.Store)
			return nil
		},
	}
	o.flags(cmd)
	return withExitCodes(cmd, "  0  it was told to end    2  wrong usage    3  it could not be started\n")
}

// serveOptions holds the flags of serve.
type serveOptions struct {
	listen, store, name      string
	peers                    []string
	peerSecret               string
	peerListen               string
	cert, certKey, ca, users string
	insecure                 bool
	sight                    sight
	logLevel, logFormat      string
}

func (o *serveOptions) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&o.listen, "listen", "127.0.0.1:4222", "the `address` for clients")
	f.StringVar(&o.store, "store", "", "the `folder` in which it keeps its data (default in the user's data folder)")
	f.StringVar(&o.name, "name", "", "the server's name, of which each server of a cluster has another (default the machine's)")
	f.StringSliceVar(&o.peers, "peers", nil, "the `addresses` of the other servers' --peer-listen, separated by commas")
	f.StringVar(&o.peerListen, "peer-listen", "", "the `address` for the other servers")
	f.StringVar(&o.cert, "tls-cert", "", "`file` with the server's certificate")
	f.StringVar(&o.certKey, "tls-key", "", "`file` with the key of --tls-cert")
	f.StringVar(&o.ca, "tls-ca", "", "`file` with the certificates by which those of clients and peers are trusted; they then have to show one")
	f.StringVar(&o.peerSecret, "peer-secret", "", "`file` with a secret that the servers show each other")
	f.StringVar(&o.users, "users", "", "`file` with the keys of those who may connect, and their roles; parhost keys makes it")
	f.BoolVar(&o.insecure, "insecure", false, "listen where other machines reach it, without encryption and keys")
	o.sight.flags(f)
	f.StringVar(&o.logLevel, "log-level", "warn", "trace, debug, info, warn, error or off")
	f.StringVar(&o.logFormat, "log-format", "text", "text or json")
}

// config turns the flags into a server's config.
func (o *serveOptions) config(s *streams) (server.Config, error) {
	cfg := server.Config{Listen: o.listen, Store: o.store, Name: o.name, Peers: o.peers, PeerListen: o.peerListen}
	logs := options{logLevel: o.logLevel, logFormat: o.logFormat}
	var err error
	if cfg.Logger, err = logs.logger(s); err != nil {
		return cfg, err
	}
	if (len(o.peers) > 0) != (o.peerListen != "") {
		return cfg, usageError("give both, for example --peers 10.0.0.2:6222,10.0.0.3:6222 --peer-listen 10.0.0.1:6222", "only one of --peers and --peer-listen is given")
	}
	if o.cert != "" || o.certKey != "" || o.ca != "" {
		if o.cert == "" || o.certKey == "" {
			return cfg, usageError("a server needs a certificate: --tls-cert FILE --tls-key FILE", "--tls-cert and --tls-key go together, and --tls-ca with them")
		}
		if cfg.TLS, err = server.LoadTLS(o.cert, o.certKey, o.ca); err != nil {
			return cfg, usageError("the files are PEM", "%v", err)
		}
	}
	if o.users != "" {
		if cfg.Users, err = server.ReadUsers(o.users); err != nil {
			return cfg, usageError("parhost keys writes such a file", "--users: %v", err)
		}
	}
	if o.peerSecret != "" {
		text, err := os.ReadFile(o.peerSecret)
		if cfg.PeerSecret = strings.TrimSpace(string(text)); err != nil || len(cfg.PeerSecret) < leastSecret {
			return cfg, usageError("openssl rand -hex 32 makes one; each server needs the same", "--peer-secret %q: want a file with a secret of at least %d characters", o.peerSecret, leastSecret)
		}
	}
	guarded := len(cfg.Users) > 0 && cfg.TLS != nil
	for _, at := range []struct{ flag, address string }{{"--listen", o.listen}, {"--peer-listen", o.peerListen}} {
		if at.address == "" {
			continue
		}
		host, _, err := net.SplitHostPort(at.address)
		if err != nil {
			return cfg, usageError("write HOST:PORT, such as 127.0.0.1:4222", "%s %q: %v", at.flag, at.address, err)
		}
		if ip := net.ParseIP(host); (ip == nil || !ip.IsLoopback()) && host != "localhost" && (!guarded || at.flag == "--peer-listen" && cfg.PeerSecret == "") && !o.insecure {
			return cfg, usageError("give --tls-cert, --tls-key, --users, and with peers --peer-secret; --insecure lets everybody who reaches the address run what nodes allow",
				"%s %s: other machines reach that, and without encryption and keys nobody is kept out", at.flag, at.address)
		}
	}
	if cfg.Store == "" {
		dir, err := dataFolder()
		if err != nil {
			return cfg, usageError("give a folder with --store", "--store: %v", err)
		}
		cfg.Store = filepath.Join(dir, "parhost", "serve")
	}
	if err := os.MkdirAll(cfg.Store, 0o700); err != nil {
		return cfg, usageError("give a folder that can be written with --store", "--store: %v", err)
	}
	return cfg, nil
}

// leastSecret is how long the secret of peers has to be.
const leastSecret = 16

// dataFolder returns the user's folder for data.
func dataFolder() (string, error) {
	if dir := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(dir) {
		return dir, nil
	}
	home, err := os.UserHomeDir()
	return filepath.Join(home, strings.ReplaceAll(".local/share", "/", string(filepath.Separator))), err
}
