package dashboard_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/parhost/parhost/host/dashboard"
)

func serveCluster(t *testing.T, cfg dashboard.Config, look func(context.Context) (*dashboard.Cluster, error)) *dashboard.Server {
	t.Helper()
	cfg.Address = "127.0.0.1:0"
	s, err := dashboard.OpenCluster(t.Context(), cfg, look)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func idle(context.Context) (*dashboard.Cluster, error) { return &dashboard.Cluster{}, nil }

// What nodes and submitters say is for those alone who have the page's whole address.
func TestAClustersPageAsksForItsToken(t *testing.T) {
	metrics := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("metrics")) })
	s := serveCluster(t, dashboard.Config{Beside: map[string]http.Handler{"/metrics": metrics}}, idle)
	bare := serveCluster(t, dashboard.Config{Beside: map[string]http.Handler{"/metrics": metrics}}, nil)
	for _, c := range []struct {
		name   string
		server *dashboard.Server
		path   string
		header []string
		want   int
	}{
		{"the page", s, "/", nil, 200},
		{"its style sheet", s, "/page.css", nil, 200},
		{"its script", s, "/cluster.js", nil, 200},
		{"its events without the token", s, "/events", nil, 401},
		{"its events with another token", s, "/events?token=1", nil, 401},
		{"a name of another site", s, "/", []string{"Host", "evil.example"}, 403},
		{"a script of another site", s, "/events", []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{"a run", s, "/timeline", nil, 404},
		{"metrics", s, "/metrics", nil, 200},
		{"metrics by a name of another site", s, "/metrics", []string{"Host", "evil.example"}, 403},
		{"metrics without a page", bare, "/metrics", nil, 200},
		{"a page that is not there", bare, "/", nil, 404},
		{"events that are not there", bare, "/events", nil, 404},
	} {
		if got, text := ask(t, c.server, http.MethodGet, c.path, c.header...); got != c.want {
			t.Errorf("%s: got %d %s, want %d", c.name, got, text, c.want)
		}
	}
	if _, err := dashboard.OpenCluster(t.Context(), dashboard.Config{Address: "0.0.0.0:0"}, idle); err == nil {
		t.Error("an address that other machines reach: got no error")
	}
}

// clusterView is a part of what a page gets.
type clusterView struct {
	Problem string
	Totals  struct{ Slots int }
	Running int `json:"jobs_running"`
	Hidden  int
	Servers []dashboard.ClusterServer
	Nodes   []dashboard.ClusterNode
	Unfit   []dashboard.ClusterUnfit
	Jobs    []dashboard.ClusterJob
}

// seen returns the next thing that a page of a cluster is told, and its text.
func seen(t *testing.T, lines *bufio.Scanner) (v clusterView, text string) {
	t.Helper()
	for lines.Scan() {
		if text, found := strings.CutPrefix(lines.Text(), "data: "); found {
			var told struct{ View clusterView }
			if err := json.Unmarshal([]byte(text), &told); err != nil {
				t.Fatal(err)
			}
			return told.View, text
		}
	}
	t.Fatal("the stream has ended: ", lines.Err())
	return v, ""
}

func TestAClustersPageGetsPlainTextsAndBoundedLists(t *testing.T) {
	now := time.Now()
	c := &dashboard.Cluster{
		Servers: []dashboard.ClusterServer{{Name: evil, State: evil, URL: evil, Version: evil}},
		Nodes:   []dashboard.ClusterNode{{Name: evil, Pool: evil, Platform: evil, Version: evil}},
		Unfit:   []dashboard.ClusterUnfit{{Node: evil, Job: evil, Kind: evil, Message: strings.Repeat(evil, 1000)}},
		Queues:  []dashboard.ClusterQueue{{Pool: evil, Slots: 2}, {Slots: 3}},
	}
	for range 1000 {
		c.Jobs = append(c.Jobs, dashboard.ClusterJob{ID: evil, Tenant: evil, State: "done", Plugin: evil, Pool: evil, Submitter: evil, Created: now})
	}
	c.Jobs = append(c.Jobs, dashboard.ClusterJob{ID: "last", State: "running", Created: now.Add(-time.Hour)})
	s := serveCluster(t, dashboard.Config{}, func(context.Context) (*dashboard.Cluster, error) { return c, nil })
	v, text := seen(t, watch(t, s))
	for _, shown := range []string{text, v.Servers[0].State, v.Nodes[0].Name, v.Unfit[0].Message, v.Jobs[1].Submitter} {
		if strings.ContainsAny(shown, "\x1b\u202e") {
			t.Errorf("the page gets control characters as they are: %.500q", shown)
		}
	}
	if strings.ContainsAny(text, "<>") {
		t.Error("the page gets markup as it is")
	}
	if len(text) > 300_000 {
		t.Errorf("the page gets %d bytes, want at most 300 KB", len(text))
	}
	if len(v.Jobs) != 200 || v.Hidden != 801 || v.Jobs[0].ID != "last" || v.Running != 1 || v.Totals.Slots != 5 {
		t.Errorf("got %d jobs, %d hidden, the first is %q, %d running, %d slots; want 200, 801, the one that runs, 1 and 5",
			len(v.Jobs), v.Hidden, v.Jobs[0].ID, v.Running, v.Totals.Slots)
	}
	if len(v.Nodes) != 1 || len(v.Servers) != 1 || len(v.Unfit) != 1 || len(v.Unfit[0].Message) > 600 {
		t.Errorf("got %+v, want one node, one server and one short message", v)
	}
	if c.Nodes[0].Name != evil {
		t.Error("the page changes what it is given")
	}
}

func TestAClustersPageSaysWhatIsWrong(t *testing.T) {
	looks := 0
	s := serveCluster(t, dashboard.Config{}, func(context.Context) (*dashboard.Cluster, error) {
		if looks++; looks == 1 {
			return &dashboard.Cluster{Servers: []dashboard.ClusterServer{{Name: "s"}}}, errors.New("no leader " + evil)
		}
		return &dashboard.Cluster{Nodes: []dashboard.ClusterNode{{Name: "one"}}}, nil
	})
	address, err := url.Parse(s.URL())
	if err != nil || address.Fragment == "" {
		t.Fatalf("the address %s has no token: %v", s.URL(), err)
	}
	lines := watch(t, s)
	if v, _ := seen(t, lines); !strings.HasPrefix(v.Problem, "no leader") || v.Nodes == nil || len(v.Servers) != 1 {
		t.Errorf("got %+v, want the problem and the server", v)
	}
	if v, _ := seen(t, lines); v.Problem != "" || len(v.Nodes) != 1 {
		t.Errorf("got %+v, want a node", v)
	}
}
