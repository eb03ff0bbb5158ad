package wire

import "strconv"

// Count returns n things in words, such as "1 item" or "2 items".
func Count(n int, thing string) string { return strconv.Itoa(n) + " " + Things(n, thing) }

// Things returns the word for n things, such as "item" or "items".
func Things(n int, thing string) string {
	if n == 1 {
		return thing
	}
	return thing + "s"
}
