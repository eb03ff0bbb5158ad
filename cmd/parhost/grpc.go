package main

import (
	"io"
	"os"

	"google.golang.org/grpc/grpclog"
)

// quietGRPC keeps gRPC from saying on stderr what it finds wrong with a plugin: one could fill it so. What matters stands in the errors of
// package host. Who sets the variable for gRPC's log wants it.
func quietGRPC() {
	if os.Getenv("GRPC_GO_LOG_SEVERITY_LEVEL") == "" {
		grpclog.SetLoggerV2(grpclog.NewLoggerV2(io.Discard, io.Discard, io.Discard))
	}
}
