// Package refuse makes system calls of this process fail with an error that a test chooses.
package refuse
