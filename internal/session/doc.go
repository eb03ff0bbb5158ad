// Package session is the host's half of a Work stream: the batches that a worker holds, and the check of each message that the worker sends. The rules
// are those of docs/PROTOCOL.md, sections 5 and 10. Hosts and the conformance checks share it, so there is one answer to what a worker may say.
package session
