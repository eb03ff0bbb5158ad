// Package plain reads and replaces plain files in folders where a plugin may have put something else in their place.
//
// A pipe, a device, a socket or a folder is refused and never waited for, a file has a greatest size, and what is written goes into a new file
// that takes the old one's place: nothing is written through a link.
package plain
