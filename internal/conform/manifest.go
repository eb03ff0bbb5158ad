package conform

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/parhost/parhost/internal/schema"
	"github.com/parhost/parhost/internal/wire"
	"github.com/parhost/parhost/internal/wire/workerpb"
	"github.com/parhost/parhost/protocol"
)

// describe checks that Describe gives the same manifest before and during the work, and includes the schemas only on request.
func describe(ctx context.Context, t *trial) (string, error) {
	s, err := t.stream(ctx)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, answer)
	defer cancel()
	again, err := s.worker.Service.Describe(ctx, &workerpb.DescribeRequest{Schemas: true})
	if err != nil {
		return "", err
	}
	brief, err := s.worker.Service.Describe(ctx, &workerpb.DescribeRequest{})
	if err != nil {
		return "", err
	}
	want := proto.CloneOf(t.manifest)
	switch {
	case !proto.Equal(again.GetManifest(), want):
		return "", errors.New("asked twice, the worker gave two manifests")
	case brief.GetManifest().GetItemSchema() != "" || brief.GetManifest().GetResultSchema() != "":
		return "", errors.New("the schemas came without being asked for, which makes every start slower")
	}
	want.ItemSchema, want.ResultSchema = "", ""
	if !proto.Equal(brief.GetManifest(), want) {
		return "", errors.New("the manifest without schemas is not the one with schemas")
	}
	return "the same before and during the work", nil
}

// manifest checks the limits that the protocol sets for a manifest, that version and description are one line each, and that the preferred mode exists.
func manifest(_ context.Context, t *trial) (string, error) {
	m := t.manifest
	if err := wire.CheckManifest(m); err != nil {
		return "", err
	}
	for _, text := range []struct{ what, is string }{{"version", m.GetVersion()}, {"description", m.GetDescription()}} {
		if strings.ContainsAny(text.is, "\r\n") {
			return "", fmt.Errorf("%s %.60q: want one line", text.what, text.is)
		}
	}
	switch p := m.GetPrefer(); p {
	case "", "process", "goroutine", "sequential":
	default:
		return "", fmt.Errorf("prefer is %q, want \"process\", \"goroutine\", \"sequential\" or nothing", p)
	}
	said := fmt.Sprintf("%s, %s → %s", m.GetName(), m.GetItemKind(), m.GetResultKind())
	var missing []string
	if m.GetVersion() == "" {
		missing = append(missing, "version")
	}
	if m.GetDescription() == "" {
		missing = append(missing, "description")
	}
	if len(missing) > 0 {
		said += "; it would be kinder with a " + strings.Join(missing, " and a ")
	}
	return said, nil
}

// schemas checks that both schemas are complete JSON Schemas that refer to no other document.
func schemas(ctx context.Context, t *trial) (string, error) {
	var err, more error
	t.itemSchema, err = usable(ctx, "item", t.manifest.GetItemSchema())
	t.resultSchema, more = usable(ctx, "result", t.manifest.GetResultSchema())
	return "items and results are described", errors.Join(err, more)
}

// usable returns text if it is a JSON Schema that values can be checked against, or an error.
func usable(ctx context.Context, of, text string) (string, error) {
	if text == "" {
		return "", fmt.Errorf("there is no %s schema", of)
	}
	if err := schema.Check(ctx, text); err != nil {
		return "", fmt.Errorf("%s schema: %w", of, err)
	}
	return text, nil
}

// examples checks that there is at least one item to run, and that the items match the item schema.
func examples(ctx context.Context, t *trial) (string, error) {
	own := len(t.manifest.GetExamples())
	t.given = append(append([][]byte(nil), t.manifest.GetExamples()...), t.given...)
	if len(t.given) == 0 {
		return "", errors.New("the manifest has no examples, so nobody can see what the workload does: give Manifest.Examples, or items to check with")
	}
	what := func(i int) string {
		if i >= own {
			return fmt.Sprintf("item %d, %s", i-own, short(t.given[i]))
		}
		return fmt.Sprintf("example %d, %s", i, short(t.given[i]))
	}
	for i, text := range t.given {
		if err := json.Unmarshal(text, new(json.RawMessage)); err != nil {
			return "", fmt.Errorf("%s: %w", what(i), err)
		}
	}
	if t.itemSchema == "" {
		return wire.Count(len(t.given), "example") + ", with no schema to hold them against", nil
	}
	err := schema.Check(ctx, t.itemSchema, t.given...)
	if e, ok := errors.AsType[*schema.MismatchError](err); ok {
		return "", fmt.Errorf("%s, is not what the item schema says: %w", what(e.At), err)
	}
	if err != nil {
		t.itemSchema = "" // it would fail again in later checks
		return "", fmt.Errorf("the item schema: %w", err)
	}
	return wire.Count(len(t.given), "example") + " as the item schema says", nil
}

// unknownFields checks that the worker refuses a field that the item schema forbids, because such a field is most likely a typing error.
func unknownFields(ctx context.Context, t *trial) (string, error) {
	const field = "parhost_no_such_field"
	if t.itemSchema == "" {
		return "", skip("there is no item schema")
	}
	for _, i := range t.items {
		var object map[string]json.RawMessage
		if json.Unmarshal(i.text, &object) != nil || object == nil {
			continue
		}
		object[field] = json.RawMessage("1")
		text, err := json.Marshal(object)
		if err != nil {
			return "", err
		}
		err = schema.Check(ctx, t.itemSchema, text)
		if _, forbidden := errors.AsType[*schema.MismatchError](err); err != nil && !forbidden {
			return "", fmt.Errorf("the item schema: %w", err)
		} else if !forbidden {
			return "", skip("the item schema allows further fields")
		}
		s, err := t.stream(ctx)
		if err != nil {
			return "", err
		}
		b, err := s.Run(order([]item{{text: text}}), t.limit(1))
		if err != nil {
			return "", err
		}
		e := b.Errors[0]
		switch {
		case e == nil:
			return "", fmt.Errorf("the item schema forbids further fields, and %s ran", short(text))
		case e.Kind != protocol.KindBadItem:
			return "", fmt.Errorf("an item with an unknown field is %s, want %s: %s", e.Kind, protocol.KindBadItem, e.Message)
		}
		return "refused: " + e.Message, nil
	}
	return "", skip("no item is an object")
}
