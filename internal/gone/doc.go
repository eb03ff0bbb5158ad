// Package gone waits for processes to end, for tests. The processes need not be children.
package gone
