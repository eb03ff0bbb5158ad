package conform

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/parhost/parhost/internal/schema"
	"github.com/parhost/parhost/internal/wire"
	"github.com/parhost/parhost/protocol"
)

// run runs each example in a batch of its own, and keeps the results.
func run(ctx context.Context, t *trial) (string, error) {
	var failed error
	begun := time.Now()
	for _, text := range t.given {
		s, err := t.stream(ctx)
		if err != nil {
			return "", err
		}
		b, err := s.Run(order([]item{{text: text}}), t.patience())
		switch {
		case err != nil:
			return "", fmt.Errorf("%s: %w", short(text), err)
		case b.Errors[0] != nil:
			failed = fmt.Errorf("%s: %s: %s", short(text), b.Errors[0].Kind, b.Errors[0].Message)
		case len(b.Values) != 1:
			return "", fmt.Errorf("%s: a batch of one item came back with nothing done", short(text))
		default:
			t.keep(item{text: text, result: b.Values[0], took: b.Took})
		}
		if b.Left { // the workload panicked, so the worker asks to be replaced
			_ = s.Close(answer)
		}
	}
	if len(t.given) == 0 {
		return "", skip("there is nothing to run")
	}
	seen := fmt.Sprintf("%s in %v", wire.Count(len(t.items)+t.left, "result"), time.Since(begun).Round(time.Microsecond))
	if t.left > 0 {
		seen += fmt.Sprintf("; %d are too large for the other checks, which use %d bytes of them", t.left, keptBytes)
	}
	return seen, failed
}

// results checks the results against the result schema.
func results(ctx context.Context, t *trial) (string, error) {
	if t.resultSchema == "" {
		return "", skip("there is no result schema")
	}
	if len(t.items) == 0 {
		return "", skip("no example ran")
	}
	values := make([][]byte, len(t.items))
	for i := range t.items {
		values[i] = t.items[i].result
	}
	err := schema.Check(ctx, t.resultSchema, values...)
	if e, ok := errors.AsType[*schema.MismatchError](err); ok {
		return "", fmt.Errorf("%s gave %s, which is not what the result schema says: %w", short(t.items[e.At].text), short(t.items[e.At].result), err)
	}
	if err != nil {
		return "", fmt.Errorf("the result schema: %w", err)
	}
	return wire.Count(len(t.items), "result") + " as the result schema says", nil
}

// repeat runs the examples again in another worker, and checks that an idempotent workload gives the same results.
func repeat(ctx context.Context, t *trial) (string, error) {
	if len(t.items) == 0 {
		return "", skip("no example ran")
	}
	s, err := t.own(ctx, 1, 0)
	if err != nil {
		return "", err
	}
	t.steady = true
	items := t.items
	b, err := s.Run(order(items), t.limit(len(items)))
	if err == nil {
		err = t.complete(b, items)
	}
	t.steady = err == nil
	if !t.manifest.GetIdempotent() {
		if !t.steady {
			return "", skip("not idempotent, and the second time was not the first: %v", err)
		}
		return "the same in another worker, though the manifest does not say Idempotent", nil
	}
	if err != nil {
		return "", fmt.Errorf("the manifest says Idempotent: %w", err)
	}
	return "the same in another worker", nil
}

// packed checks that items in packed format give the same results as items in JSON format.
func packed(ctx context.Context, t *trial) (string, error) {
	m := t.manifest
	in, known := codecs()[m.GetItemKind()]
	_, knownToo := codecs()[m.GetResultKind()]
	switch {
	case len(t.items) == 0:
		return "", skip("no example ran")
	case !known || !knownToo:
		return "", skip("only the workload itself can pack %s → %s", m.GetItemKind(), m.GetResultKind())
	}
	texts := make([][]byte, len(t.items))
	for i := range t.items {
		texts[i] = t.items[i].text
	}
	items, err := in.pack(texts)
	if err != nil {
		return "", err
	}
	s, err := t.stream(ctx)
	if err != nil {
		return "", err
	}
	b, err := s.Run(Order{Count: len(texts), Items: items}, t.limit(len(texts)))
	if err != nil {
		return "", err
	}
	if err := t.comparePacked(b, t.items); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s → %s as JSON and packed", m.GetItemKind(), m.GetResultKind()), nil
}

// comparePacked returns an error if an item of a batch, run packed, failed or gave another result than in JSON format.
func (t *trial) comparePacked(b *Batch, items []item) error {
	itemKind, resultKind := t.manifest.GetItemKind(), t.manifest.GetResultKind()
	if b.done() != len(items) {
		return fmt.Errorf("%d of %d items came back without a reason", len(items)-b.done(), len(items))
	}
	for i, got := range b.Values {
		if e := b.Errors[i]; e != nil {
			return fmt.Errorf("%s, packed as %s: %s: %s", short(items[i].text), itemKind, e.Kind, e.Message)
		}
		want, err := codecs()[resultKind].value(items[i].result)
		if err != nil {
			return fmt.Errorf("result %s is no %s: %w", short(items[i].result), resultKind, err)
		}
		same := bytes.Equal(got, want) || resultKind == wire.KindJSON && sameJSON(got, want)
		if t.steady && !same {
			return fmt.Errorf("%s gave another result packed as %s → %s than as JSON: %x, want %x", short(items[i].text), itemKind, resultKind, got, want)
		}
	}
	return nil
}

// malformed are texts that are not JSON, so that every workload must refuse them.
var malformed = []string{`{"`, `[1,`, `tru`, ``, `1 2`, `"abc`, `{"a":}`, `}`}

// badItems checks that the worker refuses texts that are not JSON and reports where they go wrong, and that the items between them still run.
func badItems(ctx context.Context, t *trial) (string, error) {
	good, err := t.some(0, 1)
	if err != nil {
		good = nil // then the batch has malformed items only
	}
	var list []item
	for i, text := range malformed {
		if len(good) > 0 {
			list = append(list, good[i%len(good)])
		}
		list = append(list, item{text: []byte(text)})
	}
	s, err := t.stream(ctx)
	if err != nil {
		return "", err
	}
	b, err := s.Run(order(list), t.limit(len(list)))
	if err != nil {
		return "", err
	}
	var neighbours []item
	var values [][]byte
	for i, v := range b.Values {
		e, n := b.Errors[i], len(list[i].text)
		switch {
		case list[i].result != nil && e == nil:
			neighbours, values = append(neighbours, list[i]), append(values, v)
		case list[i].result != nil:
			return "", fmt.Errorf("%s, between items that are not JSON: %s: %s", short(list[i].text), e.Kind, e.Message)
		case e == nil:
			return "", fmt.Errorf("%q is not JSON, and it ran", list[i].text)
		case e.Kind != protocol.KindBadItem:
			return "", fmt.Errorf("%q is %s, want %s: %s", list[i].text, e.Kind, protocol.KindBadItem, e.Message)
		case e.Offset < 1 || e.Offset > n+1:
			return "", fmt.Errorf("%q goes wrong at byte %d, says the worker, want 1 to %d: %s", list[i].text, e.Offset, n+1, e.Message)
		}
	}
	switch {
	case b.done() != len(list):
		return "", fmt.Errorf("%d of %d items have an outcome", b.done(), len(list))
	case b.Left:
		return "", errors.New("the worker wants to be replaced because of an item that is not JSON")
	}
	if err := t.compare(&Batch{Values: values}, neighbours); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s refused, each with its place; %s between them ran", wire.Count(len(malformed), "text"), wire.Count(len(neighbours), "item")), nil
}

// oversize checks that the worker refuses results beyond the limit and reports their sizes.
func oversize(ctx context.Context, t *trial) (string, error) {
	var large []item
	for _, i := range t.items {
		if len(i.result) > 1 {
			large = append(large, i)
		}
	}
	if len(large) == 0 {
		return "", skip("no result is longer than one byte")
	}
	large = large[:min(3, len(large))]
	s, err := t.own(ctx, 1, 1)
	if err != nil {
		return "", err
	}
	b, err := s.Run(order(large), t.limit(len(large)))
	if err != nil {
		return "", err
	}
	var sizes []string
	for i := range large {
		e := b.Errors[i]
		switch {
		case e == nil:
			return "", fmt.Errorf("a result of %d bytes came through a limit of 1", len(large[i].result))
		case e.Kind != protocol.KindOversize:
			return "", fmt.Errorf("a result beyond the limit is %s, want %s: %s", e.Kind, protocol.KindOversize, e.Message)
		case e.Size <= 1:
			return "", fmt.Errorf("a result of %d bytes is said to have %d", len(large[i].result), e.Size)
		}
		sizes = append(sizes, fmt.Sprint(e.Size))
	}
	if b.Left {
		return "", errors.New("the worker wants to be replaced because of a result that is too large")
	}
	return "refused at a limit of 1 byte: " + strings.Join(sizes, ", ") + " bytes", nil
}
