// Package channel makes the one-way byte channels between a host and a worker process.
//
// On Linux a channel is a pair of unix sockets, not a pipe. A pipe has one lock for both ends. write(2), read(2) and close(2) wait for it without a
// time limit, and no signal interrupts them, not even SIGKILL: the close at a process's exit waits too. A process that sleeps in splice(2), or in a
// write(2) whose buffer is mapped from a file system that the process serves itself, holds the lock for as long as it likes. A socket has no lock
// that its other end could hold while it sleeps.
package channel
