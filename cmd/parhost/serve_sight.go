//go:build !noserver

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/pflag"

	"github.com/parhost/parhost/host/cluster"
	"github.com/parhost/parhost/host/cluster/server"
	"github.com/parhost/parhost/host/dashboard"
	"github.com/parhost/parhost/host/telemetry/metrics"
)

// sight holds the flags of serve by which people and programs see the cluster.
type sight struct {
	ui, metrics string
	public      bool
}

func (o *sight) flags(f *pflag.FlagSet) {
	f.StringVar(&o.ui, "ui", "", "show the cluster on a web page at this `address`, such as 127.0.0.1:8080, with /metrics and /healthz")
	f.StringVar(&o.metrics, "metrics", "", "serve /metrics for Prometheus and /healthz at this `address`")
	f.BoolVar(&o.public, "ui-public", false, "allow addresses for --ui and --metrics that other machines reach; there is no encryption")
}

// open begins to serve what the flags ask for, before the cluster answers. It returns nil if they ask for nothing.
func (o *sight) open(ctx context.Context, s *streams, srv *server.Server, log hclog.Logger) (*lookout, error) {
	if o.ui == "" && o.metrics == "" {
		return nil, nil
	}
	l := &lookout{server: srv, log: log}
	beside := map[string]http.Handler{"/metrics": &metrics.ClusterExporter{Look: l.metrics}, "/healthz": http.HandlerFunc(l.health)}
	for _, at := range []struct {
		flag, address, words string
		look                 func(context.Context) (*dashboard.Cluster, error)
	}{{"--ui", o.ui, "the cluster's page: ", l.page}, {"--metrics", o.metrics, "metrics for Prometheus: ", nil}} {
		if at.address == "" {
			continue
		}
		page, err := dashboard.OpenCluster(ctx, dashboard.Config{Address: at.address, Public: o.public, Beside: beside}, at.look)
		if err != nil {
			l.close()
			return nil, addressError(at.flag, at.address, err)
		}
		l.pages = append(l.pages, page)
		url := page.URL()
		if at.look == nil {
			url, _, _ = strings.Cut(url, "#") // there is nothing to unlock
			url += "metrics"
		}
		s.say("parhost: %s%s", at.words, url)
	}
	return l, nil
}

// lookout looks at a cluster for pages and metrics, from the process of one of its servers. A nil lookout shows nothing.
type lookout struct {
	server *server.Server
	log    hclog.Logger
	pages  []*dashboard.Server

	mu      sync.Mutex // held while one looks for all
	cluster *cluster.Cluster
	last    *cluster.Overview
	err     error
	at      time.Time
}

const (
	lookEvery = 500 * time.Millisecond // a look costs the server some requests, however many ask for it
	lookTime  = 2 * time.Second
)

// look returns what the cluster does. It connects when it is first asked, because the servers of a cluster wait for one another.
func (l *lookout) look(ctx context.Context) (*cluster.Overview, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if time.Since(l.at) < lookEvery {
		return l.last, l.err
	}
	within, cancel := context.WithTimeoutCause(ctx, lookTime, fmt.Errorf("no answer within %v", lookTime))
	defer cancel()
	last, err := l.ask(within)
	if err != nil && ctx.Err() != nil { // whoever asked is gone
		return nil, err
	}
	l.last, l.err, l.at = last, err, time.Now()
	return last, err
}

func (l *lookout) ask(ctx context.Context) (_ *cluster.Overview, err error) {
	if l.cluster == nil {
		cfg := l.server.Operator()
		cfg.Version, cfg.Logger = thisBuild().Version, l.log
		if l.cluster, err = cluster.Connect(ctx, cfg); err != nil {
			return nil, err
		}
	}
	return l.cluster.Overview(ctx)
}

// page returns what the page shows.
func (l *lookout) page(ctx context.Context) (*dashboard.Cluster, error) {
	c := &dashboard.Cluster{Servers: serversOf(l.server.Status())}
	o, err := l.look(ctx)
	if err != nil {
		return c, err
	}
	for i := range o.Nodes {
		n := &o.Nodes[i]
		c.Nodes = append(c.Nodes, dashboard.ClusterNode{
			Name: n.Name, Pool: n.Pool, Slots: n.Slots, Busy: n.Busy, Leaving: n.Leaving, Items: n.Items, Platform: n.Platform, Version: n.Version, Since: n.Since,
		})
		for job, t := range n.Unfit {
			c.Unfit = append(c.Unfit, dashboard.ClusterUnfit{Node: n.Name, Job: job, Kind: t.Kind, Message: t.Message})
		}
	}
	slices.SortFunc(c.Unfit, func(a, b dashboard.ClusterUnfit) int {
		return cmp.Or(cmp.Compare(a.Job, b.Job), cmp.Compare(a.Node, b.Node))
	})
	for i := range o.Jobs {
		j := &o.Jobs[i]
		c.Jobs = append(c.Jobs, dashboard.ClusterJob{
			ID: j.ID, Tenant: j.Tenant, State: j.State, Plugin: j.Plugin, Pool: j.Pool, Done: j.Done, Failed: j.Failed, Submitter: j.Submitter, Created: j.Created, Seen: j.Seen,
		})
	}
	for _, q := range o.Queues {
		c.Queues = append(c.Queues, dashboard.ClusterQueue(q))
	}
	return c, nil
}

// serversOf returns the servers that one of them knows.
func serversOf(own server.Status) []dashboard.ClusterServer {
	words := func(name string, healthy bool, otherwise string) string {
		switch {
		case !healthy:
			return otherwise
		case name == own.Leader:
			return "healthy, leads"
		default:
			return "healthy"
		}
	}
	list := []dashboard.ClusterServer{{
		Name: own.Name, State: words(own.Name, own.Problem == "", own.Problem), URL: own.URL, Version: own.Version, Since: own.Since, Clients: own.Clients,
		Messages: own.Messages, Bytes: own.Bytes,
	}}
	for _, p := range own.Peers {
		list = append(list, dashboard.ClusterServer{Name: p.Name, State: words(p.Name, !p.Offline, "offline")})
	}
	return list
}

// errNoAnswer is all that strangers are told of an error, which may name tenants. The page has the whole of it, behind its token.
var errNoAnswer = errors.New("the cluster does not answer")

// metrics returns what Prometheus gets.
func (l *lookout) metrics(ctx context.Context) (*metrics.Cluster, error) {
	o, err := l.look(ctx)
	if err != nil {
		l.log.Debug("there are no metrics", "err", err)
		return nil, errNoAnswer
	}
	own := l.server.Status()
	c := &metrics.Cluster{
		Pools: map[string]metrics.ClusterPool{}, Jobs: map[string]int{"running": 0, "away": 0, "done": 0, "canceled": 0}, Items: map[string]int{},
		Messages: own.Messages, Bytes: own.Bytes,
	}
	for _, q := range o.Queues {
		c.Pools[q.Pool] = metrics.ClusterPool{Nodes: q.Nodes, Slots: q.Slots, Busy: q.Busy, Waiting: q.Waiting, Running: q.Running}
	}
	for i := range o.Jobs {
		c.Jobs[o.Jobs[i].State]++
	}
	for i := range o.Nodes {
		c.Items[o.Nodes[i].Name] = o.Nodes[i].Items
	}
	return c, nil
}

// health answers whether the server is healthy. The reason is on the page, behind its token.
func (l *lookout) health(w http.ResponseWriter, _ *http.Request) {
	if err := l.server.Health(); err != nil {
		l.log.Warn("the server is not healthy", "err", err)
		http.Error(w, "not healthy", http.StatusServiceUnavailable)
		return
	}
	_, _ = w.Write([]byte("healthy\n")) // the client may have gone away
}

// close ends pages and metrics.
func (l *lookout) close() {
	if l == nil {
		return
	}
	var err error
	for _, page := range l.pages {
		err = errors.Join(err, page.Close())
	}
	if err != nil {
		l.log.Debug("a page did not end well", "err", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cluster != nil {
		l.cluster.Close()
	}
}
