// Package sdk is what a plugin author imports: it turns a function into a parhost plugin.
//
//	package main // the whole plugin
//
//	import (
//		"context"
//		"math"
//
//		"github.com/parhost/parhost/sdk"
//	)
//
//	func main() {
//		sdk.Serve(sdk.Func("sqrt", func(ctx context.Context, x float64) (float64, error) {
//			return math.Sqrt(x), nil
//		}))
//	}
//
// A workload is a function of one item ([Func]), a type with a Run method and optional Setup and Teardown methods ([Struct]), or a function of many
// items at once ([Batch]). [Workload.With] adds a manifest: what hosts and people should know about the workload. The same workload runs unchanged in
// a plugin process, on goroutines and in sequence. Package sdktest checks that it keeps its promises.
//
// The package does not start processes, choose modes or read items: that is the host's job.
package sdk
