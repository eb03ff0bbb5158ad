package sleep

import (
	"encoding/json"

	"github.com/parhost/parhost/sdk"
)

// Workload sleeps as long as its item says, unless the item is canceled.
var Workload = sdk.Func("sleep", Sleep).With(sdk.Manifest{
	Version:     "1.0.0",
	Description: "sleep for some seconds (0.2), or for a duration (\"200ms\")",
	Examples:    []any{0.05, 0.1, "50ms", "100ms"},
	ItemSchema:  json.RawMessage(Schema),
	Idempotent:  true,
	Threads:     1,
})
