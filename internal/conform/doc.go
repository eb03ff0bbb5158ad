// Package conform checks that a worker keeps the promises of the worker protocol and of its own manifest.
//
// It sees a worker only through its gRPC service. Package sdktest runs it on a workload inside a test, and package host on an
// executable, so that both get the same list.
package conform
