package metrics

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"strings"

	dto "github.com/prometheus/client_model/go"
)

// Cluster is what metrics show of a cluster at one moment.
type Cluster struct {
	Pools    map[string]ClusterPool // by name
	Jobs     map[string]int         // how many there are, by state
	Items    map[string]int         // that have run, by node
	Messages int                    // that the server stores
	Bytes    int64                  // that the server stores
}

// ClusterPool is a group of nodes, and what there is for them to do.
type ClusterPool struct {
	Nodes, Slots, Busy int
	Waiting, Running   int // batches
}

// ClusterExporter answers requests with the metrics of a cluster, and with those of this process. If Look fails, the answer is the status 503 and has no
// metrics: some of them would look like a cluster without nodes.
type ClusterExporter struct {
	Look func(context.Context) (*Cluster, error)
}

var _ http.Handler = (*ClusterExporter)(nil)

// ServeHTTP implements [http.Handler].
func (e *ClusterExporter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c, err := e.Look(r.Context())
	if err != nil {
		http.Error(w, strings.ToValidUTF8(err.Error(), "?"), http.StatusServiceUnavailable)
		return
	}
	f := families{}
	f.process()
	c.collect(f)
	send(w, r, f.sorted())
}

var (
	clusterNodes   = metric{"parhost_cluster_nodes", gauge, "pool", "Nodes that take batches."}
	clusterSlots   = metric{"parhost_cluster_slots", gauge, "pool", "Batches that the nodes can run at once."}
	clusterBusy    = metric{"parhost_cluster_slots_busy", gauge, "pool", "Slots that run a batch."}
	clusterWaiting = metric{"parhost_cluster_batches_waiting", gauge, "pool", "Batches that no node has."}
	clusterRunning = metric{"parhost_cluster_batches_running", gauge, "pool", "Batches that nodes have."}
	clusterJobs    = metric{"parhost_cluster_jobs", gauge, "state", "Jobs that the cluster knows."}
	clusterItems   = metric{"parhost_cluster_items_total", counter, "node", "Items that a node has run."}
	serverMessages = metric{"parhost_server_stored_messages", gauge, "", "Messages that the server stores."}
	serverBytes    = metric{"parhost_server_stored_bytes", gauge, "", "Bytes that the server stores, in files and in memory."}
)

func (c *Cluster) collect(f families) {
	seen := map[string]bool{}
	send := func(m metric, value float64, label string) {
		var labels []*dto.LabelPair
		if m.label != "" {
			label = strings.ToValidUTF8(label, "\uFFFD")
			labels = append(labels, pair(m.label, label))
		}
		if key := m.name + " " + label; !seen[key] { // a metric must not come twice
			seen[key] = true
			f.number(m, value, labels)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Pools)) {
		p := c.Pools[name]
		send(clusterNodes, float64(p.Nodes), name)
		send(clusterSlots, float64(p.Slots), name)
		send(clusterBusy, float64(p.Busy), name)
		send(clusterWaiting, float64(p.Waiting), name)
		send(clusterRunning, float64(p.Running), name)
	}
	for _, state := range slices.Sorted(maps.Keys(c.Jobs)) {
		send(clusterJobs, float64(c.Jobs[state]), state)
	}
	for _, node := range slices.Sorted(maps.Keys(c.Items)) {
		send(clusterItems, float64(c.Items[node]), node)
	}
	send(serverMessages, float64(c.Messages), "")
	send(serverBytes, float64(c.Bytes), "")
}
