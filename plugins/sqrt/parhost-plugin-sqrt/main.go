// Command parhost-plugin-sqrt is a plugin that serves the sqrt workload.
package main

import (
	"github.com/parhost/parhost/plugins/sqrt"
	"github.com/parhost/parhost/sdk"
)

func main() { sdk.Serve(sqrt.Workload) }
