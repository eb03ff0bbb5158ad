// Package child runs worker processes. It starts them in their sandbox, reads their output at a limited rate, kills them together with the processes that they
// have started, and says how they died.
package child
