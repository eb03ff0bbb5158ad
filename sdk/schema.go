package sdk

import (
	"encoding"
	"encoding/json"
	"fmt"
	"math/big"
	"reflect"
	"time"

	"github.com/google/jsonschema-go/jsonschema"
	"google.golang.org/protobuf/proto"
)

// schemaOf returns the author's schema own, or a schema made from the type t if own is empty.
//
// Where reflection cannot see the JSON form of a type (because the type marshals itself or contains itself), the schema allows any value: an
// incomplete schema is less useful, but a wrong one does harm. The error says that own is not JSON.
func schemaOf(own json.RawMessage, t reflect.Type) (string, error) {
	if len(own) > 0 {
		if !json.Valid(own) {
			return "", fmt.Errorf("not JSON: %.60q", own)
		}
		return string(own), nil
	}
	if t.Implements(reflect.TypeFor[proto.Message]()) {
		return "{}", nil
	}
	known := map[reflect.Type]*jsonschema.Schema{}
	collect(t, known, map[reflect.Type]bool{})
	if s, err := jsonschema.ForType(t, &jsonschema.ForOptions{IgnoreInvalidTypes: true, TypeSchemas: known}); err == nil && s != nil {
		text, err := json.Marshal(s)
		return string(text), err
	}
	return "{}", nil
}

// collect finds the types inside t whose JSON form differs from what their kind suggests, and adds their schemas to known.
func collect(t reflect.Type, known map[reflect.Type]*jsonschema.Schema, seen map[reflect.Type]bool) {
	if seen[t] {
		return
	}
	seen[t] = true
	if s := ownText(t); s != nil {
		known[t] = s
		return
	}
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
		collect(t.Elem(), known, seen)
	case reflect.Struct:
		for _, f := range reflect.VisibleFields(t) {
			if !f.Anonymous { // VisibleFields also lists the fields of the embedded struct
				collect(f.Type, known, seen)
			}
		}
	}
}

// ownText returns the schema of a type that encoding/json does not encode by its kind, or nil for all other types.
func ownText(t reflect.Type) *jsonschema.Schema {
	implements := func(iface reflect.Type) bool { return t.Implements(iface) || reflect.PointerTo(t).Implements(iface) }
	switch {
	case t == reflect.TypeFor[big.Int]():
		return &jsonschema.Schema{Type: "integer"}
	case t == reflect.TypeFor[json.Number]():
		return &jsonschema.Schema{Type: "number"}
	case t == reflect.TypeFor[time.Time](), t.Kind() == reflect.Pointer, t.Kind() == reflect.Interface:
		return nil // jsonschema knows time.Time and follows pointers; an interface allows any value already
	case implements(reflect.TypeFor[json.Marshaler]()):
		// All types are listed, because jsonschema adds null to this list for a pointer to the type.
		return &jsonschema.Schema{Types: []string{"null", "boolean", "number", "string", "array", "object"}}
	case implements(reflect.TypeFor[encoding.TextMarshaler]()):
		return &jsonschema.Schema{Type: "string"}
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8:
		return &jsonschema.Schema{Types: []string{"null", "string"}, ContentEncoding: "base64"}
	}
	return nil
}
