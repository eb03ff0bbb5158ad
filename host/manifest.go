package host

import (
	"context"
	"encoding/json"
	"time"

	"github.com/parhost/parhost/host/internal/process"
	"github.com/parhost/parhost/host/internal/worker"
	"github.com/parhost/parhost/internal/inprocess"
	"github.com/parhost/parhost/internal/wire"
	"github.com/parhost/parhost/internal/wire/workerpb"
	"github.com/parhost/parhost/protocol"
)

// manifestOf converts a checked manifest. It leaves out examples and schemas that are not JSON in UTF-8.
func manifestOf(pb *workerpb.Manifest) protocol.Manifest {
	m := protocol.Manifest{
		Name: pb.GetName(), Version: pb.GetVersion(), Description: pb.GetDescription(),
		ItemKind: pb.GetItemKind(), ResultKind: pb.GetResultKind(),
		Idempotent: pb.GetIdempotent(), NotConcurrent: pb.GetNotConcurrent(), Prefer: Mode(pb.GetPrefer()),
		Threads: int(max(1, pb.GetThreads())), ItemTime: time.Duration(min(pb.GetItemTimeNs(), 1<<62)), SDK: pb.GetSdk(),
	}
	if n := pb.GetNeeds(); n != nil {
		m.Needs = protocol.Needs{Network: n.GetNetwork(), Processes: n.GetProcesses(), Read: n.GetRead(), Write: n.GetWrite(), MemoryBytes: int64(n.GetMemoryBytes())}
	}
	for _, example := range pb.GetExamples() {
		if wire.IsJSON(example) {
			m.Examples = append(m.Examples, json.RawMessage(example))
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
func (p *Pool) Manifest() protocol.Manifest { return p.manifest }

// Describe returns the manifest with the schemas of items and results. It asks a worker for them, unless the workload is linked in.
func (p *Pool) Describe(ctx context.Context) (protocol.Manifest, error) {
	if p.cfg.Workload != nil {
		pb, err := inprocess.Describe(p.cfg.Workload, true)
		if err != nil {
			return protocol.Manifest{}, err
		}
		return manifestOf(pb), nil
	}
	place, err := p.scheduler.acquire(ctx, wish{depth: 1})
	if err != nil {
		return protocol.Manifest{}, err
	}
	defer p.scheduler.release(place, worker.End{}, true)
	ctx, cancel := context.WithTimeout(ctx, p.cfg.StartTimeout)
	defer cancel()
	pb, err := place.worker.(*process.Worker).Describe(ctx)
	if err != nil {
		return protocol.Manifest{}, err
	}
	return manifestOf(pb), nil
}
