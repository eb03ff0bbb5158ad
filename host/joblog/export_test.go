package joblog

// Bounds of a stream.
const (
	MostItems  = mostItems
	GroupItems = groupItems
	HeldBytes  = heldBytes
)

// Unsynced is how many bytes the end of the machine could take.
func (j *Journal) Unsynced() int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.size - j.synced
}
