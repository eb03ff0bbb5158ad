// Package plain reads and replaces regular files in folders where a plugin may have replaced them by something else.
//
// It refuses pipes, devices, sockets and folders without ever waiting for them, and files beyond a size limit. It writes to a new file that
// replaces the old one, so it never writes through a symbolic link.
package plain
