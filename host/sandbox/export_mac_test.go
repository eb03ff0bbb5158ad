package sandbox

// NotOnMac is what macOS refuses of a policy.
var NotOnMac = (*Policy).notOnMac
