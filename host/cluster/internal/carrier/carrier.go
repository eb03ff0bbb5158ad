// Package carrier carries batches and results over NATS JetStream.
package carrier

import (
	"context"
	"crypto/tls"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parhost/parhost/host/cluster/internal/engine"
)

// Options says how to reach the servers.
type Options struct {
	URLs      string // separated by commas
	InProcess nats.InProcessConnProvider
	Name      string // that the servers' monitoring shows
	SeedFile  string // of the NKEY
	Key       *Key   // the same, in memory
	TLS       *tls.Config
	Tenant    string
	LeaseTime time.Duration
	Logger    hclog.Logger
}

// Key is an NKEY of this process.
type Key struct {
	Public string
	Sign   func(nonce []byte) ([]byte, error)
}

// Carrier is a connection to the servers.
type Carrier struct {
	nc     *nats.Conn
	js     jetstream.JetStream
	log    hclog.Logger
	tenant string
	lease  time.Duration

	restricted bool // it may not make streams
	isNode     bool // it has the rights of a node, which are the same for all tenants

	jobs, nodes, tries bucket
	data, code         blobs

	refused refusals

	remaking sync.Mutex // held while streams are made that are gone
	remade   time.Time  // when that was done last

	mu    sync.Mutex
	pools map[string]jetstream.Consumer
}

var _ engine.Engine = (*Carrier)(nil)

// LeastServer is the oldest server whose streams keep what they promise: a later fix keeps a consumer's state when a request to make it again is refused.
var LeastServer = [3]int{2, 14, 7}

const (
	requestTime = 5 * time.Second
	pingTime    = 2 * time.Second  // after two pings without an answer another server is tried, since a machine that is cut off or stopped closes no connection
	nodeTime    = 10 * time.Second // after which the entry of a node vanishes
	inline      = 256 << 10        // bytes of a body that goes into a message
	warnTime    = 3 * time.Second  // after which a cluster that is not ready is worth a word
	keepResults = 24 * time.Hour
	keepCode    = 30 * 24 * time.Hour
)

// Open connects to the servers and makes the streams that are not there. A connection that may not do so binds to those that are there.
func Open(ctx context.Context, o Options) (*Carrier, error) {
	c := &Carrier{log: o.Logger, tenant: o.Tenant, lease: o.LeaseTime, pools: map[string]jetstream.Consumer{}}
	c.jobs, c.nodes, c.tries = bucket{c, jobsBucket}, bucket{c, nodesBucket}, bucket{c, triesBucket}
	c.data, c.code = blobs{c, dataStream, dataSubject}, blobs{c, codeStream, codeSubject}
	options := []nats.Option{
		nats.Name(o.Name), nats.MaxReconnects(-1), nats.ReconnectWait(250 * time.Millisecond), nats.ReconnectBufSize(-1), nats.Timeout(3 * time.Second),
		nats.PingInterval(pingTime), nats.MaxPingsOutstanding(2),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				c.log.Warn("the connection to the cluster is lost; it is tried again until it is there", "err", err)
			}
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) { c.log.Info("connected to the cluster again", "server", nc.ConnectedUrlRedacted()) }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { c.complained(err) }),
	}
	if o.InProcess != nil {
		options = append(options, nats.InProcessServer(o.InProcess))
	}
	if o.TLS != nil {
		options = append(options, nats.Secure(o.TLS))
	}
	if o.SeedFile != "" {
		key, err := nats.NkeyOptionFromSeed(o.SeedFile)
		if err != nil {
			return nil, &KeyError{o.SeedFile, err}
		}
		options = append(options, key)
	}
	if o.Key != nil {
		options = append(options, nats.Nkey(o.Key.Public, o.Key.Sign))
	}
	options = append(options, func(own *nats.Options) error {
		if own.Nkey != "" {
			own.InboxPrefix = InboxOf(own.Nkey)
		}
		return nil
	})
	var err error
	if c.nc, err = nats.Connect(o.URLs, options...); err != nil {
		return nil, verdict(ctx, o, err)
	}
	if err := c.open(ctx); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func (c *Carrier) open(ctx context.Context) (err error) {
	if version := c.nc.ConnectedServerVersion(); !recent(version) {
		return &VersionError{Version: version}
	}
	if c.js, err = jetstream.New(c.nc, jetstream.WithDefaultTimeout(requestTime)); err != nil {
		return err
	}
	c.askRights(ctx)
	// A server that has just started, or whose leader is being elected, answers nothing or says that it cannot yet.
	began, warned := time.Now(), false
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		if err = c.bind(ctx); err == nil || !transient(err) {
			return said(err)
		}
		c.log.Debug("the cluster is not ready", "err", err)
		if !warned && time.Since(began) > warnTime {
			warned = true
			c.log.Warn("the cluster is not ready; it is tried again until it is", "err", err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		case <-time.After(wait):
		}
	}
}

// Server returns the address of the server that this connection leads to.
func (c *Carrier) Server() string { return c.nc.ConnectedUrlRedacted() }

// LeaseTime implements [engine.Receiver].
func (c *Carrier) LeaseTime() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lease
}

// Close ends the connection. Leases that are left end by themselves.
func (c *Carrier) Close() { c.nc.Close() }

// recent reports whether a server's version is LeastServer or later.
func recent(version string) bool {
	var v [3]int
	version, _, _ = strings.Cut(version, "-")
	if n, err := fmt.Sscanf(version, "%d.%d.%d", &v[0], &v[1], &v[2]); n < 3 || err != nil {
		return false
	}
	for i := range v {
		if v[i] != LeastServer[i] {
			return v[i] > LeastServer[i]
		}
	}
	return true
}
