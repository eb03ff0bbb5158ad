package sdktest_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/parhost/parhost/plugins/sqrt"
	"github.com/parhost/parhost/protocol"
	"github.com/parhost/parhost/sdk"
	"github.com/parhost/parhost/sdk/sdktest"
)

func TestRunReturnsTheResultsInOrder(t *testing.T) {
	got := sdktest.Run(t, sqrt.Workload, 4, 9, 2.25)
	if len(got) != 3 || got[0] != 2 || got[1] != 3 || got[2] != 1.5 {
		t.Errorf("got %v, want [2 3 1.5]", got)
	}
	if got, err := sdktest.DoJSON(t, sqrt.Workload, "16"); err != nil || got != "4" {
		t.Errorf("as JSON: got %v, %v, want 4", got, err)
	}
}

func TestDoReturnsTheItemsError(t *testing.T) {
	_, err := sdktest.Do(t, sqrt.Workload, -1)
	var item *protocol.ItemError
	if !errors.As(err, &item) || item.Kind != "failed" || !strings.Contains(item.Message, "negative") {
		t.Errorf("got %v, want failed: … negative", err)
	}
	_, err = sdktest.DoJSON(t, sqrt.Workload, `"four"`)
	if !errors.As(err, &item) || item.Kind != "bad_item" || item.Offset == 0 {
		t.Errorf("got %v, want bad_item with its place", err)
	}
}

func TestAPanicIsTheItemsError(t *testing.T) {
	w := sdk.Func("panics", func(context.Context, int) (int, error) { panic("oh") })
	_, err := sdktest.Do(t, w, 1)
	var item *protocol.ItemError
	if !errors.As(err, &item) || item.Kind != "panic" || item.Message != "oh" || !strings.Contains(item.Stack, "run_test.go") {
		t.Errorf("got %v, want panic: oh, with its stack", err)
	}
}

// counted is a workload that records its set-up, items and teardown.
type counted struct{ life *[]string }

func (c counted) Run(_ context.Context, x string) (int, error) {
	*c.life = append(*c.life, x)
	return len(*c.life), nil
}

func (c counted) Setup(context.Context) error {
	*c.life = append(*c.life, "set up")
	return nil
}

func (c counted) Teardown(context.Context) error {
	*c.life = append(*c.life, "torn down")
	return nil
}

func TestRunSetsUpAndTearsDown(t *testing.T) {
	var life []string
	w := sdk.Struct("counted", func() sdk.Runner[string, int] { return counted{&life} })
	sdktest.Run(t, w, "a", "b")
	if got, want := strings.Join(life, ", "), "set up, a, b, torn down"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestProtoMessagesKeepThePromises(t *testing.T) {
	w := sdk.Func("longer", func(_ context.Context, d *durationpb.Duration) (*durationpb.Duration, error) {
		return &durationpb.Duration{Seconds: d.GetSeconds() + 1}, nil
	}).With(sdk.Manifest{Examples: []any{&durationpb.Duration{Seconds: 5}}, Idempotent: true})
	sdktest.Check(t, w)
	got := sdktest.Run(t, w, &durationpb.Duration{Seconds: 2})
	if got[0].GetSeconds() != 3 {
		t.Errorf("got %v, want 3 s", got[0])
	}
}
