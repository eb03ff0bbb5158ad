package sdk

import (
	"net"

	"github.com/hashicorp/go-hclog"

	"github.com/parhost/parhost/internal/inprocess"
	"github.com/parhost/parhost/internal/wire/workerpb"
)

func init() { inprocess.Serve = serveInProcess }

// serveInProcess is [Serve] without a process: for package sdktest.
func serveInProcess(workload any, l net.Listener, logger hclog.Logger) (gone <-chan struct{}, stop func()) {
	s := newServer(workload.(*Workload), logger)
	s.stderr = nil // the process is the test's
	g := s.listen(nil)
	workerpb.RegisterWorkerServiceServer(g, s)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = g.Serve(l) // says how the listener ended, which is how the worker is stopped
	}()
	return done, g.Stop
}
