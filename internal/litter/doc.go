// Package litter removes folders in which plugins could leave what they liked: hundreds of thousands of files, or folders within
// one another by the ten thousand.
package litter
