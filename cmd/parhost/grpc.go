package main

import (
	"io"
	"os"

	"google.golang.org/grpc/grpclog"
)

// quietGRPC turns off gRPC's log on stderr, because a faulty plugin could fill stderr with it. The errors of package host say what matters. A user
// who sets gRPC's own log variable still gets the log.
func quietGRPC() {
	if os.Getenv("GRPC_GO_LOG_SEVERITY_LEVEL") == "" {
		grpclog.SetLoggerV2(grpclog.NewLoggerV2(io.Discard, io.Discard, io.Discard))
	}
}
