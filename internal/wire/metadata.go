package wire

import (
	"fmt"
	"unicode/utf8"
)

// Bounds of the metadata of a run. It goes along with each batch.
const (
	MaxMetadata      = 64      // pairs
	MaxMetadataBytes = 8 << 10 // of all keys and values
)

// CheckMetadata says what is wrong with the metadata of a run, if anything is.
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
