// Package process runs one plugin process as a worker of a pool. It starts the process through go-plugin, shares memory with it, sends it batches over a
// session, watches time limits, and judges what the death of the process means for the batches that it held.
package process
