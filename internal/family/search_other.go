//go:build !linux

package family

// Supported says that families can be found here.
const Supported = false

// Mark does nothing here.
func (Name) Mark(int, uint32) {}

// End finds nobody here.
func (Search) End() (ended int, err error) { return 0, nil }

// Has knows nobody here.
func (Search) Has(int) bool { return false }

// Markable is nil: nobody is found here, whatever limits there are.
func Markable() error { return nil }

// ReapOrphans reaps nobody here.
func (Search) ReapOrphans(<-chan struct{}) {}
