package sandbox

// NotOnMac returns the error for a policy that macOS cannot enforce.
var NotOnMac = (*Policy).notOnMac
