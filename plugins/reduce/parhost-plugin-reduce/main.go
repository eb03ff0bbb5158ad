// Command parhost-plugin-reduce is the reduce workload as a plugin of its own.
package main

import (
	"github.com/parhost/parhost/plugins/reduce"
	"github.com/parhost/parhost/sdk"
)

func main() { sdk.Serve(reduce.Workload) }
