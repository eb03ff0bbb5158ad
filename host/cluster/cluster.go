package cluster

import (
	"context"
	"crypto/tls"
	"fmt"
	"regexp"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/nats-io/nats.go"

	"github.com/parhost/parhost/host/cluster/internal/carrier"
	"github.com/parhost/parhost/host/cluster/internal/engine"
)

// Config says how to reach a cluster. A field that is zero has the default that its comment states.
type Config struct {
	// URL is the address of a server, such as nats://127.0.0.1:4222, or several, separated by commas.
	URL string
	// Server is a server in this process; URL is then empty.
	Server InProcess
	// Tenant has jobs of its own. Default "default".
	Tenant string
	// KeyFile is the file of an NKEY's seed, which says to servers that have users who this is. Default: no key.
	KeyFile string
	// Key is an NKEY in memory, in place of KeyFile. Default: no key.
	Key *Key
	// TLS is for servers that want encrypted connections: RootCAs are the authorities that may have signed the server's certificate, and Certificates this
	// program's own, for servers that ask for one. Default: as the URL says, with the system's authorities.
	TLS *tls.Config
	// LeaseTime is how long a node may be silent before its batches go to another. It is set by the first node of a pool, and holds for all. Default 10 s; at
	// least 2 s.
	LeaseTime time.Duration
	// Version is the program's version, by which nodes and submitters know whether they understand each other. Default "devel", which understands any.
	Version string
	// Logger gets what happens to the connection. Default: discards it.
	Logger hclog.Logger
}

// Key is an NKEY whose seed stays with whoever signs.
type Key struct {
	Public string
	Sign   func(nonce []byte) ([]byte, error)
}

// InProcess is a server in this process, such as package server's.
type InProcess = nats.InProcessConnProvider

// Cluster is a connection to a cluster. Its methods may be called from any goroutine.
type Cluster struct {
	engine  engine.Engine
	tenant  string
	version string
	log     hclog.Logger
	close   sync.Once
}

// Bounds of a [Config].
const (
	defaultLease = 10 * time.Second
	leastLease   = 2 * time.Second
)

// wordForm is the form of names that become parts of subjects.
var wordForm = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`) })

// Connect connects to a cluster, and makes the streams that are missing. Only an operator's key, or a server without keys, allows that; with other keys a
// missing stream is an error. ctx bounds the connecting, not the life of the connection. A connection that is lost later is made again.
//
// The error is a [*ConfigError] for a config that cannot be used, and a [*VersionError] for a server that is too old. It matches [ErrRefused] if the server
// refuses the connection, or to make the streams.
func Connect(ctx context.Context, cfg Config) (*Cluster, error) {
	if cfg.Tenant == "" {
		cfg.Tenant = "default"
	}
	if cfg.LeaseTime == 0 {
		cfg.LeaseTime = defaultLease
	}
	if cfg.Version == "" {
		cfg.Version = develVersion
	}
	if cfg.Logger == nil {
		cfg.Logger = hclog.NewNullLogger()
	}
	switch {
	case (cfg.URL == "") == (cfg.Server == nil):
		return nil, &ConfigError{"URL", "either URL or Server has to be set"}
	case cfg.KeyFile != "" && cfg.Key != nil:
		return nil, &ConfigError{"Key", "only one of Key and KeyFile can be set"}
	case !wordForm().MatchString(cfg.Tenant):
		return nil, &ConfigError{"Tenant", fmt.Sprintf("%q is not 1 to 64 letters, digits, - and _", cfg.Tenant)}
	case cfg.LeaseTime < leastLease:
		return nil, &ConfigError{"LeaseTime", fmt.Sprintf("%v is less than %v", cfg.LeaseTime, leastLease)}
	}
	e, err := carrier.Open(ctx, carrier.Options{
		URLs: cfg.URL, InProcess: cfg.Server, Name: "parhost " + cfg.Version, SeedFile: cfg.KeyFile, Key: (*carrier.Key)(cfg.Key), TLS: cfg.TLS,
		Tenant: cfg.Tenant, LeaseTime: cfg.LeaseTime, Logger: cfg.Logger,
	})
	if err != nil {
		return nil, connectError(&cfg, err)
	}
	return &Cluster{engine: e, tenant: cfg.Tenant, version: cfg.Version, log: cfg.Logger}, nil
}

// Close ends the connection. Jobs and nodes that use it end with an error. It may be called twice.
func (c *Cluster) Close() { c.close.Do(c.engine.Close) }
