package conform

import (
	"context"

	"google.golang.org/grpc/status"
)

// check is one promise and the function that tests it. run returns what it saw. Its error says how the promise is broken, or is a skipError if the
// check does not apply.
type check struct {
	name, promise string
	run           func(ctx context.Context, t *trial) (string, error)
}

// checks lists all checks in the order in which they run. Later checks use what earlier ones found out.
var checks = []check{
	{"manifest", "the manifest is complete and within its limits", manifest},
	{"describe", "the manifest is the same whenever it is asked for", describe},
	{"schemas", "items and results have a JSON Schema", schemas},
	{"examples", "the examples are items as the schema has them", examples},
	{"run", "the examples run without an error", run},
	{"results", "the results are as the schema has them", results},
	{"repeat", "an idempotent workload gives the same result again, in another process", repeat},
	{"packed", "values packed and values as JSON lead to the same results", packed},
	{"bad-items", "what is not JSON is a bad_item with its place, and costs no other item", badItems},
	{"unknown-fields", "a field that the schema does not allow is refused", unknownFields},
	{"batch", "the results of a batch come in order and without gaps", many},
	{"window", "batches wait in a worker while another runs", window},
	{"hand-back", "a batch that has used up its time is handed back where it stands", handBack},
	{"credit", "results wait until the host has room for them", credit},
	{"threads", "several threads run several batches, one at a time if NotConcurrent", threads},
	{"cancel", "a canceled batch ends soon, and the worker lives on", cancel},
	{"timeout", "an item beyond its limit is a timeout, and the host is told at once", timeout},
	{"oversize", "a result beyond the limit is refused with its size", oversize},
	{"buffers", "items that lie in the pool's buffers are run where they lie", buffers},
	{"start-first", "a stream begins with a Start", startFirst},
	{"one-stream", "a worker serves one stream in its life", oneStream},
	{"drain", "when the host closes its side, what waits is run, then the worker goes", drain},
	{"abandon", "when the stream breaks, the worker goes", abandon},
}

// message returns the message of a gRPC error, without its code.
func message(err error) string { return status.Convert(err).Message() }
