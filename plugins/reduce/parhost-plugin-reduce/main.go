// Command parhost-plugin-reduce is a plugin that serves the reduce workload.
package main

import (
	"github.com/parhost/parhost/plugins/reduce"
	"github.com/parhost/parhost/sdk"
)

func main() { sdk.Serve(reduce.Workload) }
