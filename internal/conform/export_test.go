package conform

import (
	"time"

	"github.com/parhost/parhost/internal/wire/workerpb"
)

// PatienceFor is how long an example may take whose author says that an item takes so long.
func PatienceFor(itemTime time.Duration) time.Duration {
	return (&trial{manifest: &workerpb.Manifest{ItemTimeNs: uint64(itemTime)}}).patience()
}
