package conform

import (
	"time"

	"github.com/parhost/parhost/internal/wire/workerpb"
)

// PatienceFor returns the time limit for an example of a workload whose manifest gives itemTime as the time of an item.
func PatienceFor(itemTime time.Duration) time.Duration {
	return (&trial{manifest: &workerpb.Manifest{ItemTimeNs: uint64(itemTime)}}).patience()
}
