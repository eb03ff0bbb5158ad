// Package attempt lists what no plugin must succeed in, for tests to try from inside a sandbox, and the expected outcome of each attempt at each level.
package attempt
