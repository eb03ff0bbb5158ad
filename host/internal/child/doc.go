// Package child is the operating system's side of worker processes: it starts them in their sandbox, reads their output within a rate, kills
// them with all that they have started, and says how they died.
package child
