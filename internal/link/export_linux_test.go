package link

// Set writes a counter or flag of a ring, as an end of the ring does.
var Set = set
