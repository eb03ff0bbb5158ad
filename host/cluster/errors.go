package cluster

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parhost/parhost/host/cluster/internal/carrier"
	"github.com/parhost/parhost/host/cluster/internal/engine"
)

// ConfigError says which field of a [Config], [JobConfig] or [NodeConfig] cannot be used.
type ConfigError struct{ Field, Problem string }

func (e *ConfigError) Error() string { return e.Field + ": " + e.Problem }

// VersionError says that a server is older than any that keeps what its streams promise.
type VersionError struct {
	Server string // its version
	Least  string // the oldest that will do
}

func (e *VersionError) Error() string {
	return fmt.Sprintf("the server is nats-server %s, and %s is the oldest that will do", e.Server, e.Least)
}

var (
	// ErrRefused matches what the server does not allow.
	ErrRefused = engine.ErrRefused
	// ErrNoServer matches the error of [Connect] if no server answers.
	ErrNoServer = errors.New("no server answers")
	// ErrNoJetStream matches the error of [Connect] if the server stores nothing.
	ErrNoJetStream = errors.New("the server runs without JetStream, which stores the batches (nats-server --jetstream)")
	// ErrNoJob says that the registry has no such job.
	ErrNoJob = errors.New("there is no such job")
	// ErrCanceled ends a job that somebody has canceled.
	ErrCanceled = errors.New("the job was canceled")
)

// OtherJobError says that a job of this name exists, and is another.
type OtherJobError struct {
	Job  string
	What string // in what they differ
}

func (e *OtherJobError) Error() string {
	return fmt.Sprintf("job %q exists, with %s", e.Job, e.What)
}

// UnfitError says that no node can run a job.
type UnfitError struct {
	Job     string
	Reasons []Trouble // one for each node
}

func (e *UnfitError) Error() string {
	var words []string
	for _, t := range e.Reasons {
		words = append(words, fmt.Sprintf("%s: %s", t.Node, t.Message))
	}
	return fmt.Sprintf("no node can run job %q: %s", e.Job, strings.Join(words, "; "))
}

// Trouble says why a node does not run a job.
type Trouble struct {
	Node    string `json:"node"`
	Kind    string `json:"kind"` // "version", "platform", "refused", "sandbox" or "start"
	Message string `json:"message"`
}

// connectError puts an error of the connection into words.
func connectError(cfg *Config, err error) error {
	var version *carrier.VersionError
	var key *carrier.KeyError
	where := "the server of this process"
	if cfg.URL != "" {
		where = redacted(cfg.URL)
	}
	refused := func(words string, args ...any) error {
		return fmt.Errorf("%s: %w: %s: %w", where, ErrRefused, fmt.Sprintf(words, args...), err)
	}
	switch {
	case errors.As(err, &version):
		return &VersionError{Server: version.Version, Least: fmt.Sprintf("%d.%d.%d", carrier.LeastServer[0], carrier.LeastServer[1], carrier.LeastServer[2])}
	case errors.As(err, &key):
		return &ConfigError{"KeyFile", fmt.Sprintf("%q: %v; it has to have the seed of a user's NKEY, which begins with SU", key.File, key.Err)}
	case errors.Is(err, nats.ErrNoServers):
		return fmt.Errorf("%s: %w", where, ErrNoServer)
	case errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount), errors.Is(err, nats.ErrNoResponders):
		return fmt.Errorf("%s: %w", where, ErrNoJetStream)
	case errors.Is(err, nats.ErrAuthorization) && cfg.KeyFile == "":
		return refused("the server asks for a key (KeyFile)")
	case errors.Is(err, nats.ErrAuthorization):
		return refused("the server does not know the key in %q; its public part has to be among the server's users", cfg.KeyFile)
	case errors.Is(err, nats.ErrAuthExpired):
		return refused("what the server allowed has expired")
	case errors.Is(err, nats.ErrSecureConnWanted):
		return fmt.Errorf("%s: the server does not encrypt connections, and this program wants to (TLS, or tls:// in URL): %w", where, err)
	}
	if words := serverCertificate(err); words != "" {
		return fmt.Errorf("%s: %s: %w", where, words, err)
	}
	// The other side's alerts have no type that says which: crypto/tls keeps it to itself.
	switch _, alert, _ := strings.Cut(err.Error(), "remote error: tls: "); alert {
	case "":
		return fmt.Errorf("%s: %w", where, err)
	case "certificate required":
		return refused("the server asks for a certificate of an authority that it trusts (TLS.Certificates), and this program has none")
	case "expired certificate":
		return refused("this program's certificate has expired, or is not valid yet (TLS.Certificates)")
	case "unknown certificate authority":
		return refused("this program's certificate is signed by an authority that the server does not trust (TLS.Certificates)")
	default:
		return refused("the server does not accept the encrypted connection")
	}
}

// serverCertificate says why this program does not accept the server's certificate, or nothing.
func serverCertificate(err error) string {
	var invalid x509.CertificateInvalidError
	var authority x509.UnknownAuthorityError
	var name x509.HostnameError
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "the server's certificate has expired, or is not valid yet; compare the clocks, and then renew it"
	case errors.As(err, &authority):
		return "the server's certificate is signed by an authority that is not trusted here (TLS.RootCAs)"
	case errors.As(err, &name):
		return "the server's certificate is for another name than the one in URL"
	}
	return ""
}

// redacted returns addresses without the passwords in them.
func redacted(urls string) string {
	list := strings.Split(urls, ",")
	for i, u := range list {
		if parsed, err := url.Parse(strings.TrimSpace(u)); err == nil {
			list[i] = parsed.Redacted()
		}
	}
	return strings.Join(list, ",")
}

func noJob(err error) error {
	if errors.Is(err, engine.ErrNotFound) {
		return ErrNoJob
	}
	return err
}

func isConflict(err error) bool { return errors.Is(err, engine.ErrConflict) }
