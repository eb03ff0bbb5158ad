// Package process is one plugin process as a worker of a pool: it starts the process through go-plugin, shares memory with it, sends it batches over
// its session, watches limits of time, and judges what its death means for the batches that it held.
package process
