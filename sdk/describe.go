package sdk

import (
	"encoding/json"
	"fmt"
	"reflect"

	"github.com/google/jsonschema-go/jsonschema"
	"google.golang.org/protobuf/proto"

	"github.com/parhost/parhost/internal/wire/workerpb"
)

// sdkVersion names the maker of the plugin's side of the stream.
const sdkVersion = "parhost-go/0.1.0"

// Describe returns the manifest as it travels, with the schemas if they are wanted: making them takes longer than a worker's
// start should.
func (w *Workload) Describe(schemas bool) (*workerpb.Manifest, error) {
	m := w.manifest
	itemKind, resultKind := w.core.Kinds()
	pb := &workerpb.Manifest{
		Name: m.Name, Version: m.Version, Description: m.Description,
		ItemKind: itemKind, ResultKind: resultKind,
		Idempotent: m.Idempotent, NotConcurrent: m.NotConcurrent, Prefer: m.Prefer,
		Threads: uint32(max(0, m.Threads)), ItemTimeNs: uint64(max(0, m.ItemTime)),
		Sdk: sdkVersion,
	}
	for i, example := range m.Examples {
		text, err := json.Marshal(example)
		if err != nil {
			return nil, fmt.Errorf("example %d of %q: %w", i, m.Name, err)
		}
		pb.Examples = append(pb.Examples, text)
	}
	if !schemas {
		return pb, nil
	}
	item, result := w.core.Types()
	var err error
	if pb.ItemSchema, err = schemaOf(m.ItemSchema, item); err != nil {
		return nil, fmt.Errorf("item schema of %q: %w", m.Name, err)
	}
	if pb.ResultSchema, err = schemaOf(m.ResultSchema, result); err != nil {
		return nil, fmt.Errorf("result schema of %q: %w", m.Name, err)
	}
	return pb, nil
}

// schemaOf returns the author's schema, or one made from the type. A type that reflection cannot see into, such as a proto
// message, is any value.
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
	s, err := jsonschema.ForType(t, &jsonschema.ForOptions{IgnoreInvalidTypes: true})
	if err != nil {
		return "", err
	}
	text, err := json.Marshal(s)
	return string(text), err
}
