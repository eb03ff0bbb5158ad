// Package conform checks that a worker keeps the promises of the worker protocol and of its own manifest.
//
// It talks to a worker only through its gRPC service. Package sdktest runs the checks on a workload inside a test, package host runs them on an
// executable, and both report the same list.
package conform
