package sandbox

// Rehearsed is what became of a process that tried the walls of a profile.
var Rehearsed = rehearsed
