package wire

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// Uncounted is the largest message that CheckResponse does not examine: decoding so few bytes cannot take much memory.
const Uncounted = 16 << 10

// Field numbers of the messages that CheckResponse knows, from proto/parhost/v1/worker.proto.
const (
	resultsOfResponse = 2
	errorsOfResults   = 5
	timesOfResults    = 6
)

// CheckResponse refuses a WorkResponse that would take many times its size when it is decoded: an entry of a list may have two bytes, and becomes a
// struct of more than a hundred. most is the largest number of items in a batch, which has no more errors and no more times than items. Malformed
// messages are left to the decoder.
func CheckResponse(message []byte, most int) error {
	if len(message) <= Uncounted {
		return nil
	}
	errors, times, others := 0, 0, 0
	eachField(message, func(number protowire.Number, content []byte) {
		others++
		if number != resultsOfResponse {
			return
		}
		eachField(content, func(number protowire.Number, content []byte) {
			switch number {
			case errorsOfResults:
				errors++
			case timesOfResults:
				times += max(1, countVarints(content)) // a packed list, or a single number
			default:
				others++
			}
		})
	})
	for _, list := range []struct {
		what string
		size int
	}{{"errors", errors}, {"times", times}, {"fields", others}} {
		if list.size > most {
			return fmt.Errorf("%d %s in one message, the limit is %d", list.size, list.what, most)
		}
	}
	return nil
}

// eachField calls f for each field of a message. content is nil unless the field is length-delimited. eachField stops where the message is malformed.
func eachField(message []byte, f func(number protowire.Number, content []byte)) {
	for len(message) > 0 {
		number, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return
		}
		message = message[n:]
		var content []byte
		if n = protowire.ConsumeFieldValue(number, kind, message); n < 0 {
			return
		}
		if kind == protowire.BytesType {
			content, _ = protowire.ConsumeBytes(message)
		}
		f(number, content)
		message = message[n:]
	}
}

// countVarints returns how many numbers a packed list has: each ends with a byte below 128.
func countVarints(list []byte) (n int) {
	for _, b := range list {
		if b < 0x80 {
			n++
		}
	}
	return n
}
