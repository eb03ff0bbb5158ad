package wire

import (
	"fmt"
	"unicode/utf8"
)

// Limits of the metadata of a run, which is sent with each batch.
const (
	MaxMetadata      = 64      // pairs
	MaxMetadataBytes = 8 << 10 // total of all keys and values
)

// CheckMetadata returns an error if the metadata of a run exceeds the limits, has an empty key, or is not valid UTF-8.
func CheckMetadata(metadata map[string]string) error {
	if len(metadata) > MaxMetadata {
		return fmt.Errorf("metadata has %d pairs, the limit is %d", len(metadata), MaxMetadata)
	}
	size := 0
	for key, value := range metadata {
		switch size += len(key) + len(value); {
		case key == "":
			return fmt.Errorf("metadata has a pair without a key: its value is %.60q", value)
		case !utf8.ValidString(key), !utf8.ValidString(value):
			return fmt.Errorf("metadata %.60q is no UTF-8: %.60q", key, value)
		}
	}
	if size > MaxMetadataBytes {
		return fmt.Errorf("metadata is %d bytes, the limit is %d", size, MaxMetadataBytes)
	}
	return nil
}
