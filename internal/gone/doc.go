// Package gone waits for processes to end that need not be children, for tests.
package gone
