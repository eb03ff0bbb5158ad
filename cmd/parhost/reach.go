package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/pflag"

	"github.com/parhost/parhost/host/cluster"
)

// reach holds the flags that say how to reach a cluster.
type reach struct {
	url     string
	tenant  string
	key     string
	cert    string
	certKey string
	ca      string
}

func (r *reach) flags(f *pflag.FlagSet) {
	f.StringVar(&r.url, "cluster", "", "the `address` of a server, such as nats://10.0.0.1:4222, or of several, separated by commas")
	f.StringVar(&r.tenant, "tenant", "default", "whose jobs these are, on a cluster that several share")
	f.StringVar(&r.key, "key", "", "`file` with the seed of the NKEY that the server knows")
	f.StringVar(&r.cert, "tls-cert", "", "`file` with the certificate to show to the server")
	f.StringVar(&r.certKey, "tls-key", "", "`file` with the key of --tls-cert")
	f.StringVar(&r.ca, "tls-ca", "", "`file` with the certificates by which the server's is trusted (default the system's)")
}

const (
	connectTime = 15 * time.Second // how long a command waits for a cluster that does not answer
	absentTime  = 2 * time.Second  // and for one whose server is not there, which may be starting; a node waits for connectTime
	absentEvery = 100 * time.Millisecond
)

// connect connects to the cluster of the flags.
func (r *reach) connect(ctx context.Context, log hclog.Logger, absent time.Duration) (*cluster.Cluster, error) {
	if r.url == "" {
		return nil, usageError("parhost serve starts a cluster, and says its address", "no --cluster")
	}
	encrypted, err := r.tls()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, connectTime, errors.New("the cluster does not answer"))
	defer cancel()
	for began := time.Now(); ; {
		c, err := cluster.Connect(ctx, cluster.Config{
			URL: r.url, Tenant: r.tenant, KeyFile: r.key, TLS: encrypted, Version: thisBuild().Version, Logger: log,
		})
		if !errors.Is(err, cluster.ErrNoServer) || time.Since(began) > absent {
			return c, clusterError(err)
		}
		select {
		case <-time.After(absentEvery):
		case <-ctx.Done():
			return nil, clusterError(err)
		}
	}
}

// tls returns what --tls-… ask for, or nil.
func (r *reach) tls() (*tls.Config, error) {
	if r.cert == "" && r.certKey == "" && r.ca == "" {
		return nil, nil
	}
	return tlsConfig(r.cert, r.certKey, r.ca)
}

// tlsConfig reads certificates. The authorities are those of servers for a client, and those of clients for a server.
func tlsConfig(cert, key, ca string) (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS13}
	if (cert == "") != (key == "") {
		return nil, usageError("a certificate and its key go together", "only one of --tls-cert and --tls-key is given")
	}
	if cert != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return nil, usageError("both files are PEM, and belong together", "--tls-cert %q: %v", cert, err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	if ca != "" {
		text, err := os.ReadFile(ca)
		if err != nil {
			return nil, usageError("", "--tls-ca: %v", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(text) {
			return nil, usageError("the file has certificates as PEM", "--tls-ca %q has no certificate", ca)
		}
		cfg.RootCAs, cfg.ClientCAs = pool, pool
	}
	return cfg, nil
}

// clusterError adds the exit code and a hint to an error of a cluster.
func clusterError(err error) error {
	var config *cluster.ConfigError
	var version *cluster.VersionError
	var other *cluster.OtherJobError
	var unfit *cluster.UnfitError
	switch {
	case err == nil:
		return nil
	case errors.As(err, new(*exitError)):
		return err
	case errors.As(err, &config):
		return &exitError{code: exitUsage, err: err}
	case errors.As(err, &version):
		return &exitError{code: exitNoWorker, err: err, hint: "parhost serve runs one that will do"}
	case errors.As(err, &other):
		return &exitError{code: exitUsage, err: err, hint: "give this run a --job-id of its own; parhost jobs lists those that exist"}
	case errors.As(err, &unfit):
		code := exitNoWorker
		for _, t := range unfit.Reasons {
			if t.Kind == "sandbox" {
				code = exitNoSandbox
			}
		}
		return &exitError{code: code, err: err, hint: unfitHint(unfit)}
	case errors.Is(err, cluster.ErrNoServer):
		return &exitError{code: exitNoWorker, err: err, hint: "parhost serve starts one; check the address, and whether a firewall is between"}
	case errors.Is(err, cluster.ErrNoJetStream):
		return &exitError{code: exitNoWorker, err: err, hint: "parhost serve runs one that stores batches"}
	case errors.Is(err, cluster.ErrNoJob):
		return &exitError{code: exitUsage, err: err, hint: "parhost jobs lists those that exist"}
	case errors.Is(err, cluster.ErrCanceled):
		return &exitError{code: exitFailed, err: err, hint: "give a new run another --job-id"}
	case errors.Is(err, cluster.ErrRefused):
		return &exitError{code: exitUsage, err: err, hint: "--key names the key that the server knows; whoever runs the server gives it a role"}
	default:
		return &exitError{code: exitNoWorker, err: err}
	}
}

// unfitHint says what the owner of a node can do.
func unfitHint(e *cluster.UnfitError) string {
	switch e.Reasons[0].Kind {
	case "refused":
		return "parhost worker --allow sha256:… lets a node run it"
	case "platform":
		return "start a node of that platform, or build the plugin for it and give it with --plugin-for"
	case "version":
		return "use the same version of parhost everywhere"
	default:
		return ""
	}
}
