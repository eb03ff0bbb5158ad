//go:build !noserver

package server_test

import (
	"errors"
	"net"
	"testing"

	"github.com/parhost/parhost/host/cluster"
	"github.com/parhost/parhost/host/cluster/server"
)

// The process of a server with users sees the jobs of all tenants, without any key that users have. Submitters and nodes do not.
func TestTheServersOwnProcessSeesEverything(t *testing.T) {
	members := newMembers(t)
	s, err := server.Open(server.Config{Store: t.TempDir(), Listen: "127.0.0.1:0", Users: users(members)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Shutdown)
	if err := s.MakeStreams(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		cfg  cluster.Config
		want error
	}{
		"this process": {cfg: s.Operator()},
		"operator":     {cfg: cluster.Config{URL: s.URL(), KeyFile: members["operator"].file}},
		"submitter":    {cluster.Config{URL: s.URL(), KeyFile: members["a"].file, Tenant: "A"}, cluster.ErrRefused},
		"node":         {cluster.Config{URL: s.URL(), KeyFile: members["node"].file}, cluster.ErrRefused},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := cluster.Connect(t.Context(), test.cfg)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if _, err := c.Overview(t.Context()); !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
		})
	}
	if status := s.Status(); status.Problem != "" || status.URL != s.URL() || status.Since.IsZero() {
		t.Errorf("got %+v, want a healthy server", status)
	}
	s.Shutdown()
	if err := s.Health(); err == nil {
		t.Error("after Shutdown: got a healthy server")
	}
}

// A server whose peers are not there stores nothing.
func TestAServerWithoutItsPeersIsNotHealthy(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	free := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	s, err := server.Open(server.Config{
		Name: "one", Store: t.TempDir(), Listen: "127.0.0.1:0", PeerListen: free, Peers: []string{"127.0.0.1:1", "127.0.0.1:2"},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Shutdown)
	if err := s.Health(); err == nil {
		t.Error("got a healthy server")
	}
	status := s.Status()
	if status.Problem == "" || status.Leader != "" {
		t.Errorf("got %+v, want a problem and no leader", status)
	}
	for _, p := range status.Peers {
		if p.Name == "one" {
			t.Errorf("got %+v, want no peer of its own name", status)
		}
	}
}
