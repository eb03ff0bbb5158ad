//go:build !noserver

package server

import (
	"errors"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/parhost/parhost/host/cluster"
)

// Operator returns how this process connects to its own server with the rights of an operator: Server, Tenant and Key are set. The key is known to this server
// alone, and its seed stays in it.
func (s *Server) Operator() cluster.Config {
	cfg := cluster.Config{Server: s, Key: (*cluster.Key)(s.own)}
	if names := tenants(s.users); len(names) > 0 { // else a connection would make the streams of a tenant that nobody has
		cfg.Tenant = names[0]
	}
	return cfg
}

// Status is what a server says of itself.
type Status struct {
	Name     string
	Version  string // of nats-server
	URL      string // for clients
	Since    time.Time
	Clients  int
	Messages int    // that it stores
	Bytes    int64  // that it stores, in files and in memory
	Leader   string // of the servers; empty if there is none, or one server alone
	Peers    []Peer
	Problem  string // why it is not healthy; empty if it is
}

// Peer is another server of the cluster.
type Peer struct {
	Name    string
	Offline bool // it has not been heard of lately
}

// Status returns what the server says of itself.
func (s *Server) Status() Status {
	status := Status{Name: s.s.Name(), Version: server.VERSION, URL: s.URL(), Since: s.since, Clients: s.s.NumClients()}
	if err := s.Health(); err != nil {
		status.Problem = err.Error()
	}
	stored, err := s.s.Jsz(nil)
	if err != nil { // only if it is asked for what a leader alone knows
		return status
	}
	status.Messages, status.Bytes = int(stored.Messages), int64(stored.Bytes)
	if stored.Meta != nil {
		status.Leader = stored.Meta.Leader
		for _, p := range stored.Meta.Replicas {
			if p.Name != status.Name { // without a leader, a server lists itself too
				status.Peers = append(status.Peers, Peer{Name: p.Name, Offline: p.Offline})
			}
		}
	}
	return status
}

// Health returns nil if the server takes connections and its streams are in order, and else what is wrong.
func (s *Server) Health() error {
	if !s.s.Running() {
		return errors.New("the server has ended")
	}
	if h := s.s.Healthz(nil); h.Error != "" {
		return errors.New(h.Error)
	}
	return nil
}
