package host

import (
	"context"
	"encoding/json"
	"time"

	"github.com/parhost/parhost/host/internal/process"
	"github.com/parhost/parhost/host/internal/worker"
	"github.com/parhost/parhost/internal/wire"
	"github.com/parhost/parhost/internal/wire/workerpb"
)

// Manifest is a workload's description of itself, as a host sees it.
type Manifest struct {
	Name          string            `json:"name"`
	Version       string            `json:"version,omitempty"`
	Description   string            `json:"description,omitempty"`
	Examples      []json.RawMessage `json:"examples,omitempty"`
	ItemKind      string            `json:"item_kind"`
	ResultKind    string            `json:"result_kind"`
	ItemSchema    json.RawMessage   `json:"item_schema,omitempty"`
	ResultSchema  json.RawMessage   `json:"result_schema,omitempty"`
	Idempotent    bool              `json:"idempotent"`
	NotConcurrent bool              `json:"not_concurrent"`
	Prefer        Mode              `json:"prefer,omitempty"`
	Threads       int               `json:"threads"`
	ItemTime      time.Duration     `json:"item_time_ns,omitempty"`
	SDK           string            `json:"sdk,omitempty"`
	Needs         Needs             `json:"needs,omitzero"` // what the workload asks its user to open in a sandbox; no host grants it by itself
}

// Needs is what a workload says that it needs in a sandbox.
type Needs struct {
	Network     bool     `json:"network,omitempty"`
	Processes   bool     `json:"processes,omitempty"` // the workload starts processes of its own
	Read        []string `json:"read,omitempty"`      // absolute paths
	Write       []string `json:"write,omitempty"`     // absolute paths that the workload also changes
	MemoryBytes int64    `json:"memory_bytes,omitempty"`
}

// manifestOf converts a checked manifest. It leaves out examples and schemas that are not JSON in UTF-8.
func manifestOf(pb *workerpb.Manifest) Manifest {
	m := Manifest{
		Name: pb.GetName(), Version: pb.GetVersion(), Description: pb.GetDescription(),
		ItemKind: pb.GetItemKind(), ResultKind: pb.GetResultKind(),
		Idempotent: pb.GetIdempotent(), NotConcurrent: pb.GetNotConcurrent(), Prefer: Mode(pb.GetPrefer()),
		Threads: int(max(1, pb.GetThreads())), ItemTime: time.Duration(min(pb.GetItemTimeNs(), 1<<62)), SDK: pb.GetSdk(),
	}
	if n := pb.GetNeeds(); n != nil {
		m.Needs = Needs{n.GetNetwork(), n.GetProcesses(), n.GetRead(), n.GetWrite(), int64(n.GetMemoryBytes())}
	}
	for _, example := range pb.GetExamples() {
		if wire.IsJSON(example) {
			m.Examples = append(m.Examples, example)
		}
	}
	if s := pb.GetItemSchema(); wire.IsJSON([]byte(s)) {
		m.ItemSchema = json.RawMessage(s)
	}
	if s := pb.GetResultSchema(); wire.IsJSON([]byte(s)) {
		m.ResultSchema = json.RawMessage(s)
	}
	return m
}

// Manifest returns the manifest of the pool's workload, without the schemas.
func (p *Pool) Manifest() Manifest { return p.manifest }

// Describe returns the manifest with the schemas of items and results. It asks a worker for them, unless the workload is linked in.
func (p *Pool) Describe(ctx context.Context) (Manifest, error) {
	if p.cfg.Workload != nil {
		pb, err := p.cfg.Workload.Describe(true)
		if err != nil {
			return Manifest{}, err
		}
		return manifestOf(pb), nil
	}
	place, err := p.scheduler.acquire(ctx, 1, false)
	if err != nil {
		return Manifest{}, err
	}
	defer p.scheduler.release(place, worker.End{})
	ctx, cancel := context.WithTimeout(ctx, p.cfg.StartTimeout)
	defer cancel()
	pb, err := place.worker.(*process.Worker).Describe(ctx)
	if err != nil {
		return Manifest{}, err
	}
	return manifestOf(pb), nil
}
