// Package litter keeps folders in which plugins may leave anything, such as hundreds of thousands of files or tens of thousands of nested folders.
// It removes them when nobody needs them any more, including those of hosts that were killed.
package litter
