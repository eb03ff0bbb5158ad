package cluster_test

import (
	"testing"
	"time"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/host/cluster"
	"github.com/parhost/parhost/host/cluster/server"
	"github.com/parhost/parhost/plugins/sqrt"
)

func TestAnOverviewHasTheJobsOfAllTenants(t *testing.T) {
	s := serve(t)
	join(t, connect(t, s), cluster.NodeConfig{Name: "one", Slots: 2})
	for _, tenant := range []string{"a", "b"} {
		c, err := cluster.Connect(t.Context(), cluster.Config{URL: s.URL(), Tenant: tenant})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		job, err := c.Open(t.Context(), cluster.JobConfig{ID: "same", Config: host.Config{Workload: sqrt.Workload}})
		if err != nil {
			t.Fatal(err)
		}
		for _, err := range job.Stream(t.Context(), numbers(100)) {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	c, err := cluster.Connect(t.Context(), s.Operator())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var o *cluster.Overview
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) { // a node writes its entry now and then
		if o, err = c.Overview(t.Context()); err != nil {
			t.Fatal(err)
		}
		if len(o.Nodes) == 1 && o.Nodes[0].Items == 200 || time.Now().After(deadline) {
			break
		}
	}
	if len(o.Nodes) != 1 || o.Nodes[0].Name != "one" || o.Nodes[0].Items != 200 {
		t.Errorf("got the nodes %+v, want one that ran 200 items", o.Nodes)
	}
	if len(o.Jobs) != 2 || o.Jobs[0].Tenant != "b" || o.Jobs[1].Tenant != "a" || o.Jobs[0].Done != 100 || o.Jobs[0].State != "done" {
		t.Errorf("got the jobs %+v, want one of b, then one of a", o.Jobs)
	}
	if len(o.Queues) != 1 || o.Queues[0] != (cluster.QueueInfo{Pool: "default", Nodes: 1, Slots: 2}) {
		t.Errorf("got the queues %+v, want one with two free slots", o.Queues)
	}
}

// The server's own process needs neither a certificate nor a user's key.
func TestAnOverviewOfAGuardedServer(t *testing.T) {
	submitter, _ := newKey(t)
	s := guarded(t, newAuthority(t), time.Hour, server.User{Key: submitter, Role: server.RoleSubmitter, Tenant: "a"})
	c, err := cluster.Connect(t.Context(), s.Operator())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Overview(t.Context()); err != nil {
		t.Error(err)
	}
}
