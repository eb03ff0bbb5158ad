// Package litter keeps folders in which plugins leave what they like, hundreds of thousands of files, or folders within one another by the ten
// thousand: it removes them when nobody needs them any more, those of hosts that were killed too.
package litter
