package dashboard

import (
	"context"
	"encoding/json"
	"net/http"
	"sync"
	"time"

	"github.com/parhost/parhost/internal/bound"
	"github.com/parhost/parhost/internal/wire"
)

// Cluster is what a page shows of a cluster at one moment.
type Cluster struct {
	Servers []ClusterServer
	Nodes   []ClusterNode
	Unfit   []ClusterUnfit
	Jobs    []ClusterJob
	Queues  []ClusterQueue
}

// ClusterServer is a server. Of servers other than the one that shows the page only Name and State are known.
type ClusterServer struct {
	Name     string    `json:"name"`
	State    string    `json:"state"`
	URL      string    `json:"url"`
	Version  string    `json:"version"`
	Since    time.Time `json:"since,omitzero"`
	Clients  int       `json:"clients"`
	Messages int       `json:"messages"` // that it stores
	Bytes    int64     `json:"bytes"`    // that it stores
}

// ClusterNode is a machine that runs items.
type ClusterNode struct {
	Name     string    `json:"name"`
	Pool     string    `json:"pool"`
	Slots    int       `json:"slots"`
	Busy     int       `json:"busy"`
	Leaving  bool      `json:"leaving,omitempty"` // it takes no more batches
	Items    int       `json:"items"`             // that it ran
	Platform string    `json:"platform"`
	Version  string    `json:"version"`
	Since    time.Time `json:"since"`
}

// ClusterUnfit says why a node does not run a job.
type ClusterUnfit struct {
	Node    string `json:"node"`
	Job     string `json:"job"`
	Kind    string `json:"kind"`
	Message string `json:"message"`
}

// ClusterJob is a job.
type ClusterJob struct {
	ID        string    `json:"id"`
	Tenant    string    `json:"tenant"`
	State     string    `json:"state"`
	Plugin    string    `json:"plugin"`
	Pool      string    `json:"pool"`
	Done      int       `json:"done"`
	Failed    int       `json:"failed"`
	Submitter string    `json:"submitter"`
	Created   time.Time `json:"created"`
	Seen      time.Time `json:"seen"` // when its submitter last said how far it is
}

// ClusterQueue is what there is to do for a pool.
type ClusterQueue struct {
	Pool    string `json:"pool"`
	Waiting int    `json:"waiting"` // batches that no node has
	Running int    `json:"running"` // batches that nodes have
	Nodes   int    `json:"nodes"`
	Slots   int    `json:"slots"`
	Busy    int    `json:"busy"`
}

// Most that a page gets of a cluster.
const (
	maxRows = 200 // nodes, jobs and others: the first ones
	maxName = 128 // bytes of a text that is no message
)

// clusterView is what a page gets of a cluster.
type clusterView struct {
	Now     time.Time       `json:"now"`
	Problem string          `json:"problem,omitempty"` // why there is nothing but servers
	Totals  ClusterQueue    `json:"totals"`            // of all pools
	Jobs    int             `json:"jobs_count"`
	Running int             `json:"jobs_running"`
	Hidden  int             `json:"hidden"` // rows that the page does not get
	Servers []ClusterServer `json:"servers"`
	Nodes   []ClusterNode   `json:"nodes"`
	Unfit   []ClusterUnfit  `json:"unfit"`
	List    []ClusterJob    `json:"jobs"`
	Queues  []ClusterQueue  `json:"queues"`
}

// view returns what a page gets: no more than it can show, and texts without control characters.
func (c *Cluster) view() clusterView {
	v := clusterView{Now: time.Now(), Jobs: len(c.Jobs)}
	for i := range c.Queues {
		q := &c.Queues[i]
		v.Totals.Waiting += q.Waiting
		v.Totals.Running += q.Running
		v.Totals.Nodes += q.Nodes
		v.Totals.Slots += q.Slots
		v.Totals.Busy += q.Busy
	}
	v.Servers = rows(&v, c.Servers, func(s *ClusterServer) []*string { return []*string{&s.Name, &s.URL, &s.Version} })
	for i := range v.Servers {
		v.Servers[i].State = plainText(v.Servers[i].State)
	}
	v.Nodes = rows(&v, c.Nodes, func(n *ClusterNode) []*string { return []*string{&n.Name, &n.Pool, &n.Platform, &n.Version} })
	v.Unfit = rows(&v, c.Unfit, func(u *ClusterUnfit) []*string { return []*string{&u.Node, &u.Job, &u.Kind} })
	for i := range v.Unfit {
		v.Unfit[i].Message = plainText(v.Unfit[i].Message)
	}
	var jobs, others []ClusterJob // jobs that run come first, so that those are not the hidden ones
	for i := range c.Jobs {
		if c.Jobs[i].State == "running" {
			jobs = append(jobs, c.Jobs[i])
		} else {
			others = append(others, c.Jobs[i])
		}
	}
	v.Running = len(jobs)
	jobs = append(jobs, others...)
	v.List = rows(&v, jobs, func(j *ClusterJob) []*string {
		return []*string{&j.ID, &j.Tenant, &j.State, &j.Plugin, &j.Pool, &j.Submitter}
	})
	v.Queues = rows(&v, c.Queues, func(q *ClusterQueue) []*string { return []*string{&q.Pool} })
	return v
}

// rows returns the first rows of a list, with plain and short texts, and counts the others in v.
func rows[T any](v *clusterView, list []T, texts func(*T) []*string) []T {
	v.Hidden += max(0, len(list)-maxRows)
	shown := append([]T{}, list[:min(len(list), maxRows)]...)
	for i := range shown {
		for _, text := range texts(&shown[i]) {
			*text = wire.Plain(bound.Text(*text, maxName))
		}
	}
	return shown
}

// clusterEvery is how often a page is told what is new of a cluster.
const clusterEvery = time.Second

// OpenCluster listens as [Open] does, and serves a page of a cluster, or nothing but Config.Beside if look is nil. Logs, Controls and Steerable are not used.
//
// The server calls look once a second while a page is open, however many there are. An error of look is shown on the page, together with the
// servers that look returns besides.
func OpenCluster(ctx context.Context, cfg Config, look func(context.Context) (*Cluster, error)) (*Server, error) {
	return open(ctx, cfg, func(s *Server) *http.ServeMux {
		mux := http.NewServeMux()
		s.beside(mux)
		if look == nil {
			return mux
		}
		for _, file := range clusterFiles {
			mux.Handle("GET "+file.path, file)
		}
		shown := &shownCluster{look: look}
		mux.HandleFunc("GET /events", s.withToken(func(w http.ResponseWriter, r *http.Request) {
			s.stream(w, r, clusterEvery, func(ending bool) []byte {
				if ending {
					return []byte("{}")
				}
				return shown.tell(r.Context())
			})
		}))
		return mux
	})
}

// shownCluster is what pages were last told of a cluster.
type shownCluster struct {
	look func(context.Context) (*Cluster, error)

	mu   sync.Mutex // held while one page looks for all
	at   time.Time
	text []byte
}

// tell returns what a page is told. Pages that ask at about the same time get the same text.
func (s *shownCluster) tell(ctx context.Context) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.at) < clusterEvery/2 {
		return s.text
	}
	c, err := s.look(ctx)
	if ctx.Err() != nil { // this page is gone, and another may get an answer
		return []byte("{}")
	}
	if c == nil {
		c = new(Cluster)
	}
	v := c.view()
	if err != nil {
		v.Problem = plainText(err.Error())
	}
	text, err := json.Marshal(struct {
		View clusterView `json:"view"`
	}{v})
	if err != nil { // there is nothing in it that has no JSON
		text = []byte("{}")
	}
	s.at, s.text = time.Now(), text
	return text
}
