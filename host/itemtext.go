package host

import (
	"encoding/json"
	"reflect"
	"strconv"
	"strings"
)

// maxItemText is how many bytes of an item's text an event has. A cut text ends with "…" beyond that.
const maxItemText = 200

// itemText returns an item for people to read: a text as it is, a number with its digits. For items of other types it returns "", because their own methods
// may do anything, and encoding them may take long.
func itemText(item any) string {
	switch v := item.(type) {
	case json.RawMessage:
		return cutText(v)
	case string:
		return cutText([]byte(v[:min(len(v), maxItemText+1)]))
	case []byte:
		return cutText(v)
	}
	switch v := reflect.ValueOf(item); v.Kind() {
	case reflect.String:
		return cutText([]byte(v.String()[:min(v.Len(), maxItemText+1)]))
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return strconv.FormatInt(v.Int(), 10)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return strconv.FormatUint(v.Uint(), 10)
	case reflect.Float32, reflect.Float64:
		return strconv.FormatFloat(v.Float(), 'g', -1, 64)
	case reflect.Bool:
		return strconv.FormatBool(v.Bool())
	default:
		return ""
	}
}

func cutText(text []byte) string {
	if len(text) <= maxItemText {
		return strings.ToValidUTF8(string(text), "\ufffd")
	}
	return strings.ToValidUTF8(string(text[:maxItemText]), "") + "…"
}
