package work

import "github.com/parhost/parhost/protocol"

// usage returns false: Windows counts otherwise.
func usage() (u protocol.Usage, ok bool) { return protocol.Usage{}, false }
