package joblog

// Limits on what a stream holds.
const (
	MostItems  = maxItems
	GroupItems = groupItems
	HeldBytes  = heldBytes
)

// Unsynced returns how many bytes a crash of the machine could lose now.
func (j *Journal) Unsynced() int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.size - j.synced
}
