// Package launcher is the process that builds the walls of a sandbox around itself and then becomes the plugin.
//
// It is the host's own program, started once more. Go initializes packages that wait for nobody in the order of their paths, each
// after those that it imports, so how soon a launcher begins depends on what this package imports: syscall, and what that needs, and
// nothing else. All that takes knowledge (the filter of system calls, what Landlock is to handle, which files are bound in which order)
// the host has worked out before, and sends as bytes and numbers. Package golang.org/x/sys/unix alone would make it wait for most
// of what the host links: it waits for strings, whose name comes late.
package launcher
