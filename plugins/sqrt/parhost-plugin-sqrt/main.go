// Command parhost-plugin-sqrt is the sqrt workload as a plugin of its own.
package main

import (
	"github.com/parhost/parhost/plugins/sqrt"
	"github.com/parhost/parhost/sdk"
)

func main() { sdk.Serve(sqrt.Workload) }
