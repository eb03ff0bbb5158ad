package sqrt

import (
	"encoding/json"
	"time"

	"github.com/parhost/parhost/sdk"
)

// Workload takes square roots. It may run on any worker and any number of times, like math.Sqrt.
var Workload = sdk.Func("sqrt", Sqrt).With(sdk.Manifest{
	Version:     "1.0.0",
	Description: "the square root of a number",
	Examples:    []any{0, 1, 4, 9, 16, 25, 36, 49, 64, 81},
	ItemSchema:  json.RawMessage(Schema),
	Idempotent:  true,
	Prefer:      "goroutine",
	ItemTime:    10 * time.Nanosecond,
})
