// Package inprocess is the way of package sdktest into package sdk: it serves a workload in the test's own process.
//
// Nothing of it should be public, and neither package may be made of the other.
package inprocess

import (
	"net"

	"github.com/hashicorp/go-hclog"
)

// Serve serves workload, a *sdk.Workload, to one host on l. gone is closed when it is over: the host has ended the Work stream,
// or stop was called. Package sdk sets it when it is linked in.
var Serve func(workload any, l net.Listener, logger hclog.Logger) (gone <-chan struct{}, stop func())
