// Package attempt is what no plugin should get away with, for tests to try from inside a sandbox, and what comes of it at each level.
package attempt
