// Package child runs worker processes: it starts them in their sandbox, reads their output at a limited rate, kills them with all that they have
// started, and says how they died.
package child
