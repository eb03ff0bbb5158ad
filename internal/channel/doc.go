// Package channel makes the one-way byte channels between a host and a worker process.
//
// On Linux they are pairs of unix sockets, not pipes. A pipe has one lock for both ends: write(2), read(2) and close(2) wait for it without
// a bound and deaf to every signal, even the close that is part of a killed process's exit. A process that sleeps in splice(2), or in a
// write(2) whose buffer is a file of its own file system, holds the lock for as long as it likes. A socket has no lock that its other
// end holds while it sleeps.
package channel
