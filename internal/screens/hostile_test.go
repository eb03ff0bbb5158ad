package main

import (
	"context"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/host/dashboard"
	"github.com/parhost/parhost/host/history"
)

const markup = "<b id=evil></b><img src=x onerror=alert(1)>"

// hostile returns a run whose texts are markup.
func hostile() *dashboard.Run {
	s := history.New()
	s.Observe(host.WorkerStarted{At: s.Begun(), Worker: 1, PID: 1})
	s.Observe(host.ItemFailed{At: s.Begun(), Attempt: host.Attempt{Worker: 1, Item: markup, Blamed: true, Err: &host.ItemError{Kind: markup, Cause: markup, Message: markup}}})
	s.Observe(host.WorkerEnded{At: s.Begun(), Worker: 1, PID: 1, Reason: markup, Cause: markup})
	return &dashboard.Run{
		Store: s, Label: markup, Title: markup, Facts: []dashboard.Fact{{Name: markup, Value: markup}},
		Replay: func(int, string) string { return markup }, Ended: func() (string, bool) { return markup, true },
	}
}

// hostileCluster returns a cluster whose texts are markup.
func hostileCluster(context.Context) (*dashboard.Cluster, error) {
	return &dashboard.Cluster{
		Servers: []dashboard.ClusterServer{{Name: markup, State: markup, URL: markup, Version: markup}},
		Nodes:   []dashboard.ClusterNode{{Name: markup, Pool: markup, Platform: markup, Version: markup}},
		Unfit:   []dashboard.ClusterUnfit{{Node: markup, Job: markup, Kind: markup, Message: markup}},
		Jobs:    []dashboard.ClusterJob{{ID: markup, Tenant: markup, State: markup, Plugin: markup, Pool: markup, Submitter: markup}},
		Queues:  []dashboard.ClusterQueue{{Pool: markup, Waiting: 1}, {Nodes: 1, Slots: 1}},
	}, nil
}
