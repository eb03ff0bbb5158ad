// Package landlock finds out which version of Landlock a Linux process can use.
package landlock
