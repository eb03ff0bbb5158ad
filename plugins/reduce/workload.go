package reduce

import (
	"encoding/json"
	"time"

	"github.com/parhost/parhost/sdk"
)

// Workload reduces a sequence of integers to one, as Python's functools.reduce does. The result is a string of decimal digits, because the number
// types of other languages are too small for it.
var Workload = sdk.Func("reduce", Run).With(sdk.Manifest{
	Version:     "1.0.0",
	Description: "reduce integers of any size by an operation: a random sample, or given ones",
	Examples:    examples,
	ItemSchema:  json.RawMessage(Schema),
	Idempotent:  true,
	ItemTime:    50 * time.Millisecond,
})

// examples are the first call of the notebook (five numbers below ten), with seeds that draw no zero.
var examples = []any{
	json.RawMessage(`{"number":5,"range":10,"seed":3}`),
	json.RawMessage(`{"number":5,"range":10,"seed":4}`),
	json.RawMessage(`{"number":5,"range":10,"seed":5}`),
	json.RawMessage(`{"number":5,"range":10,"seed":6}`),
	json.RawMessage(`{"number":5,"range":10,"seed":8}`),
	json.RawMessage(`{"number":5,"range":10,"seed":9}`),
	json.RawMessage(`{"number":5,"range":10,"seed":11}`),
	json.RawMessage(`{"number":5,"range":10,"seed":12}`),
}
