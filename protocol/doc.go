// Package protocol defines the terms that plugins and hosts share: the manifest of a workload, and the error of an item with its kind and cause. It has no
// messages; docs/PROTOCOL.md describes these.
//
// Packages sdk and host have aliases for these types, so few programs import this package.
package protocol
