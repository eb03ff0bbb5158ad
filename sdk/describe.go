package sdk

import (
	"encoding/json"
	"fmt"
	"reflect"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/parhost/parhost/internal/wire/workerpb"
)

// sdkVersion is the name and version of this SDK, as the manifest reports it to the host.
const sdkVersion = "parhost-go/0.1.0"

// describe returns the manifest as a protobuf message. It includes the JSON schemas only if schemas is true, because making them takes too long for
// the start of a worker.
func (w *erased) describe(schemas bool) (*workerpb.Manifest, error) {
	m := w.manifest
	itemKind, resultKind := w.core.Kinds()
	pb := &workerpb.Manifest{
		Name: m.Name, Version: m.Version, Description: m.Description,
		ItemKind: itemKind, ResultKind: resultKind,
		Idempotent: m.Idempotent, NotConcurrent: m.NotConcurrent, Prefer: string(m.Prefer),
		Threads: uint32(max(0, m.Threads)), ItemTimeNs: uint64(max(0, m.ItemTime)),
		Sdk: sdkVersion,
	}
	if n := m.Needs; !reflect.ValueOf(n).IsZero() {
		pb.Needs = &workerpb.Needs{
			Network: n.Network, Processes: n.Processes, Read: n.Read, Write: n.Write, MemoryBytes: uint64(max(0, n.MemoryBytes)),
		}
	}
	for i, example := range m.Examples {
		text, err := exampleText(example)
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

// exampleText returns the JSON text of an example, in the form in which a host reads items.
func exampleText(example any) ([]byte, error) {
	if m, ok := example.(proto.Message); ok {
		return protojson.Marshal(m)
	}
	return json.Marshal(example)
}
