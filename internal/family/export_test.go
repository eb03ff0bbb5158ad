package family

// InEnvironment and InLimit export the readers of marks.
func (s Search) InEnvironment(environ string) bool { return s.inEnvironment([]byte(environ)) }
func (s Search) InLimit(limit uint64) bool         { return s.inLimit(limit) }

// Limit exports the maker of marks that are resource limits.
func (n Name) Limit(number uint32) uint64 { return n.limit(number) }
