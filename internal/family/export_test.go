package family

// InEnvironment and InLimit are how marks are read.
func (s Search) InEnvironment(environ string) bool { return s.inEnvironment([]byte(environ)) }
func (s Search) InLimit(limit uint64) bool         { return s.inLimit(limit) }

// Limit is how they are made.
func (n Name) Limit(number uint32) uint64 { return n.limit(number) }
