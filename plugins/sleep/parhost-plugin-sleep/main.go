// Command parhost-plugin-sleep is a plugin that serves the sleep workload.
package main

import (
	"github.com/parhost/parhost/plugins/sleep"
	"github.com/parhost/parhost/sdk"
)

func main() { sdk.Serve(sleep.Workload) }
