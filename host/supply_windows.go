package host

// openFiles returns -1, because it knows no limit on this system.
func openFiles() (limit, used int) { return -1, 0 }
