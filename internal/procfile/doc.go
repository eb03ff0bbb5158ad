// Package procfile reads the files in which the Linux kernel reports its state: those of /proc, of /sys and of cgroups.
package procfile
