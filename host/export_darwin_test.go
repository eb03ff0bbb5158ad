package host

// AwaitExit waits for the end of a child.
var AwaitExit = awaitExit
