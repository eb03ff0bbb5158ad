package schema

import (
	"context"
	"time"
)

// CheckWithin does what Check does, with the given limits.
func CheckWithin(ctx context.Context, limit time.Duration, memory uint64, schema string, values ...[]byte) error {
	return limits{limit, memory, maxStack}.check(ctx, schema, values)
}
