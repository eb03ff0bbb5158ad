// Package launcher is the process that builds the walls of a sandbox around itself and then becomes the plugin.
//
// The launcher is the host's own program, started once more. Go initializes a package after those that it imports, and packages that are ready in the
// order of their import paths. So how soon a launcher begins depends on what this package imports: only syscall and its dependencies. The host
// prepares everything that takes knowledge (the system call filter, the access rights for Landlock, which files are bound in which order) and sends
// it as bytes and numbers. An import of golang.org/x/sys/unix alone would make the launcher wait for most packages of the host: unix imports strings,
// whose path sorts late.
package launcher
