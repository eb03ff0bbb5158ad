//go:build !linux

package host

import "os"

// Read reads what the worker has written.
func (s *source) Read(b []byte) (int, error) {
	n, err := s.file.Read(b)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count += int64(n)
	return n, err
}

// unread returns 0: the pipes of these systems are not asked how many bytes lie in them. A line that a worker wrote before it was ready, and that is
// read later, may be taken for the first item's.
func unread(*os.File) int64 { return 0 }
