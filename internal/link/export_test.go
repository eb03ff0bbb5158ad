package link

// NewLink makes the other end, of files that are in this process.
var NewLink = newLink
