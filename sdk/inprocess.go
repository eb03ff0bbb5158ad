package sdk

import (
	"net"

	"github.com/hashicorp/go-hclog"

	"github.com/parhost/parhost/internal/inprocess"
	"github.com/parhost/parhost/internal/wire/workerpb"
	"github.com/parhost/parhost/internal/work"
)

func init() {
	inprocess.Core = func(workload any) work.Core { return workload.(AnyWorkload).erase().core }
	inprocess.Describe = func(workload any, schemas bool) (*workerpb.Manifest, error) {
		return workload.(AnyWorkload).erase().describe(schemas)
	}
	inprocess.Serve = serveInProcess
}

// serveInProcess is [Serve] inside the calling process. Package sdktest uses it. gone is closed when the server has ended; stop ends it.
func serveInProcess(workload any, l net.Listener, logger hclog.Logger) (gone <-chan struct{}, stop func()) {
	s := newServer(workload.(AnyWorkload).erase(), logger)
	s.stderr = nil // the process and its stderr belong to the test
	g := s.listen(nil)
	workerpb.RegisterWorkerServiceServer(g, s)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = g.Serve(l) // the error only says that stop closed the listener
	}()
	return done, g.Stop
}
