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

// schemaOf returns the author's schema, or one made from the type.
//
// Where reflection cannot see what the JSON text of a type looks like (it writes its own, or contains itself), any value is
// allowed: a schema that says too little is of less use, one that says what is wrong does harm.
func schemaOf(own string, t reflect.Type) (string, error) {
	if own != "" {
		if !json.Valid([]byte(own)) {
			return "", fmt.Errorf("not JSON: %.60q", own)
		}
		return own, nil
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

// collect finds the types below t whose JSON text is not what their kind lets one expect, and says what it is.
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
			if !f.Anonymous { // the fields of an embedded struct are visible themselves
				collect(f.Type, known, seen)
			}
		}
	}
}

// ownText returns the schema of a type that encoding/json does not write by its kind, nil for all others.
func ownText(t reflect.Type) *jsonschema.Schema {
	implements := func(iface reflect.Type) bool { return t.Implements(iface) || reflect.PointerTo(t).Implements(iface) }
	switch {
	case t == reflect.TypeFor[big.Int]():
		return &jsonschema.Schema{Type: "integer"}
	case t == reflect.TypeFor[json.Number]():
		return &jsonschema.Schema{Type: "number"}
	case t == reflect.TypeFor[time.Time](), t.Kind() == reflect.Pointer, t.Kind() == reflect.Interface:
		return nil // known to jsonschema; seen through; any value already
	case implements(reflect.TypeFor[json.Marshaler]()):
		// Every type by name, because a pointer to it adds null to this list.
		return &jsonschema.Schema{Types: []string{"null", "boolean", "number", "string", "array", "object"}}
	case implements(reflect.TypeFor[encoding.TextMarshaler]()):
		return &jsonschema.Schema{Type: "string"}
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8:
		return &jsonschema.Schema{Types: []string{"null", "string"}, ContentEncoding: "base64"}
	}
	return nil
}
