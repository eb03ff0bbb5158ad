// Command parhost-plugin-sleep is the sleep workload as a plugin of its own.
package main

import (
	"github.com/parhost/parhost/plugins/sleep"
	"github.com/parhost/parhost/sdk"
)

func main() { sdk.Serve(sleep.Workload) }
