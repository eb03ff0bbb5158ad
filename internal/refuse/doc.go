// Package refuse makes system calls of this process fail with an error of the test's choice.
package refuse
