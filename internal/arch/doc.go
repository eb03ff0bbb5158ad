// Package arch tests which packages link which: imports must point downwards, and each heavy dependency has one home.
package arch
