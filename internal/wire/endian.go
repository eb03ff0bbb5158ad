package wire

import "encoding/binary"

// bigEndian is true on the few machines whose byte order differs from that of columns, which is little-endian.
var bigEndian = binary.NativeEndian.Uint16([]byte{0, 1}) == 1

// swapIfBigEndian reverses each group of width bytes on big-endian machines.
func swapIfBigEndian(b []byte, width int) {
	if !bigEndian || width == 1 {
		return
	}
	for ; len(b) >= width; b = b[width:] {
		for i, j := 0, width-1; i < j; i, j = i+1, j-1 {
			b[i], b[j] = b[j], b[i]
		}
	}
}
