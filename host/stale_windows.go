package host

import "os"

// Sockets here are ports of the loopback, so the private folders stay empty.

func lockDir(string) (*os.File, error) { return nil, nil }

func sweep(string) {}
