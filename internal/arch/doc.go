// Package arch tests who links whom: imports point downwards, and each heavy dependency has one home.
package arch
