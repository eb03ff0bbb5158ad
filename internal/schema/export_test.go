package schema

import (
	"context"
	"time"
)

// CheckWithin is Check with limits of the test's own.
func CheckWithin(ctx context.Context, limit time.Duration, memory uint64, schema string, values ...[]byte) error {
	return limits{limit, memory, maxStack}.check(ctx, schema, values)
}
