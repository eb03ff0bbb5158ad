// Package session is the host's half of a Work stream. It keeps the batches that a worker holds, and checks each message that the worker sends, by
// the rules of docs/PROTOCOL.md, sections 5 and 10. Hosts and the conformance checks share it, so that both have the same rules.
package session
