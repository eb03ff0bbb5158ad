// Package inprocess lets package sdktest use package sdk: it serves a workload in the test's own process.
//
// It is internal because none of it should be public, and separate because neither of the two packages may contain the other.
package inprocess

import (
	"net"

	"github.com/hashicorp/go-hclog"
)

// Serve serves workload, a *sdk.Workload, to one host on l. gone is closed when the host has ended the Work stream or stop was called. Package sdk
// sets Serve when it is linked.
var Serve func(workload any, l net.Listener, logger hclog.Logger) (gone <-chan struct{}, stop func())
