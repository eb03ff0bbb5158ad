// Package inprocess lets packages host and sdktest use what package sdk does not export. Package sdk sets the variables when it is linked.
//
// It is internal because none of it should be public, and separate because package sdk knows none of its users.
package inprocess

import (
	"net"

	"github.com/hashicorp/go-hclog"

	"github.com/parhost/parhost/internal/wire/workerpb"
	"github.com/parhost/parhost/internal/work"
)

// All functions take a workload of package sdk, a *sdk.Workload of any types.
var (
	// Core returns the workload in the form in which a worker runs it.
	Core func(workload any) work.Core
	// Describe returns the workload's manifest as a message. It includes the JSON schemas only if schemas is true, because making them takes too long for
	// the start of a worker.
	Describe func(workload any, schemas bool) (*workerpb.Manifest, error)
	// Serve serves the workload to one host on l. gone is closed when the host has ended the Work stream or stop was called.
	Serve func(workload any, l net.Listener, logger hclog.Logger) (gone <-chan struct{}, stop func())
)
