package host_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/sdk"
)

// saying is a result with a text that is no UTF-8.
type saying struct {
	Words []string `json:"words"`
}

// moment has types that write their own text.
type moment struct {
	At   *time.Time      `json:"at,omitempty"`
	When time.Time       `json:"when,omitzero"`
	Pair [2]int          `json:"pair,omitzero"`
	Num  json.Number     `json:"num,omitempty"`
	Raw  json.RawMessage `json:"raw,omitempty"`
	N    int             `json:"n,omitempty,string"`
}

var (
	echoMoment = sdk.Func("echo-moment", echo[moment])
	echoInts   = sdk.Func("echo-ints", echo[[]int])
	echoTexts  = sdk.Func("echo-texts", echo[map[string]string])
	// asText returns its item as a JSON text, whatever it is.
	asText = sdk.Func("as-text", func(_ context.Context, s string) (json.RawMessage, error) { return json.RawMessage(s), nil })
	// inText returns its item as a part of a result.
	inText = sdk.Func("in-text", func(_ context.Context, s string) (any, error) { return []any{json.RawMessage(s)}, nil })
	mumble = sdk.Func("mumble", func(_ context.Context, s string) (saying, error) { return saying{[]string{s, "caf\xe9"}}, nil })
	nest   = sdk.Func("nest", func(_ context.Context, depth int) (any, error) {
		var v any
		for range depth {
			v = []any{v}
		}
		return v, nil
	})
)

func init() {
	workloads = append(workloads, echoMoment, echoInts, echoTexts, asText, inText, mumble, nest)
}

// onTexts runs texts in all modes; long is put before each of them as white space, so that they lie in the arena.
func onTexts(t *testing.T, w sdk.AnyWorkload, texts []string, test func(t *testing.T, at int, value string, e *host.ItemError)) {
	t.Helper()
	for name, long := range map[string]int{"short": 0, "long": 64 << 10} {
		items := make([]json.RawMessage, len(texts))
		for i, text := range texts {
			items[i] = json.RawMessage(text + strings.Repeat(" ", long))
		}
		t.Run(name, func(t *testing.T) {
			pools(t, host.Config{Workload: w}, func(t *testing.T, p *host.Pool) {
				values, err := typed[json.RawMessage, json.RawMessage](p).Map(t.Context(), items)
				errs := mapErrors(t, "Map", err)
				for i := range items {
					value := ""
					if errs[i] == nil {
						value = strings.TrimSpace(string(values[i]))
					}
					test(t, i, value, errs[i])
				}
			})
		})
	}
}

func TestNoItemIsChangedSilently(t *testing.T) {
	for name, c := range map[string]struct {
		workload sdk.AnyWorkload
		refused  map[string]int // where, in bytes from 1
		kept     []string
	}{
		"strings": {echoString, map[string]int{"\"caf\xe9\"": 5, `"\ud800x"`: 2, `"x\udc00"`: 3, "null": 1}, []string{`"\u0000"`, `"😀"`, `"�"`}},
		"numbers": {echoInt, map[string]int{"null": 1, "1.5": 3, "9223372036854775808": 19}, []string{"9007199254740993"}},
		"any": {
			echoAny,
			map[string]int{`{"a":1,"a":2}`: 8, `["\ud800"]`: 3, "\"\xff\"": 2, strings.Repeat("[", 10001) + strings.Repeat("]", 10001): 10001},
			[]string{"9007199254740993", "-9007199254740993", "18446744073709551616", "1.0", "1e5", "1E+400", "0.1000000000000000000001", `{"a":[1.50,null]}`, "null"},
		},
		"objects": {
			echoOrder,
			map[string]int{`{"do":"a","do":"b"}`: 11, `{"do":"a","DO":"b"}`: 11, `{"Do":"a"}`: 2, `{"do":null}`: 7, "{\"do\":\"\xc3\"}": 8, `{"x":1}`: 2, "null": 1},
			[]string{`{"do":"x","n":5}`},
		},
		"texts": {
			echoJSON,
			map[string]int{`{"a":1,"\u0061":2}`: 8, `[{"b":{"c":1,"c":1}}]`: 14, `"\udfff"`: 2, "[\"\xe9\"]": 3, "{": 0},
			[]string{`{"a":1.0,"A":9007199254740993}`},
		},
		"slices": {echoInts, map[string]int{"[1,null]": 4}, []string{"[1,0]", "null"}},
		"maps":   {echoTexts, map[string]int{`{"a":"1","a":"2"}`: 10, `{"a":null}`: 6, `{"\ud800":"a"}`: 3}, []string{`{"a":"1","b":"2"}`}},
		"own texts": {
			echoMoment,
			map[string]int{`{"when":null}`: 9, `{"pair":[1]}`: 0, `{"pair":[1,2,3]}`: 0, `{"num":null}`: 8, `{"num":"1"}`: 8, `{"n":"null"}`: 6, `{"raw":{"a":1,"a":1}}`: 15},
			[]string{`{"num":1.50}`, `{"pair":[1,2]}`, `{"raw":{"a":1.0}}`, `{"n":"5"}`},
		},
		"proto": {echoProto, map[string]int{`{"a":1,"a":2}`: 8, `"\ud800"`: 2, "\"\xff\"": 2}, []string{`{"a":[true]}`}},
	} {
		t.Run(name, func(t *testing.T) {
			texts := append([]string(nil), c.kept...)
			for text := range c.refused {
				texts = append(texts, text)
			}
			onTexts(t, c.workload, texts, func(t *testing.T, at int, value string, e *host.ItemError) {
				text := texts[at]
				switch offset, refused := c.refused[text]; {
				case !refused && (e != nil || value != escaped(text)):
					t.Errorf("item %.60q: got %.60q, %v, want it back", text, value, e)
				case refused && (e == nil || e.Kind != host.KindBadItem):
					t.Errorf("item %.60q: got %.60q, %v, want a bad_item", text, value, e)
				case refused && offset > 0 && e.Offset != offset:
					t.Errorf("item %.60q: the error is at byte %d, want %d: %v", text, e.Offset, offset, e)
				}
			})
		})
	}
}

// escaped is a text as the SDK writes it.
func escaped(text string) string { return strings.ReplaceAll(text, `"`+"\x00"+`"`, `"\u0000"`) }

func TestNoResultIsChangedSilently(t *testing.T) {
	for name, c := range map[string]struct {
		workload sdk.AnyWorkload
		item     string
		says     string
	}{
		"a name twice":                   {asText, `"{\"a\":1,\"a\":2}"`, `the name "a" is there twice`},
		"a name twice, in a value":       {inText, `"{\"a\":1,\"a\":2}"`, `the name "a" is there twice`},
		"half a pair":                    {asText, `"\"\\ud800\""`, "surrogate"},
		"half a pair, in a value":        {inText, `"\"\\ud800\""`, "surrogate"},
		"no UTF-8":                       {mumble, `"x"`, "no UTF-8"},
		"nests deeper than can be read":  {nest, "10001", "nest deeper than 10000"},
		"nests deeper than can be read2": {asText, `"` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000) + `"`, "nest deeper than 10000"},
	} {
		t.Run(name, func(t *testing.T) {
			onTexts(t, c.workload, []string{c.item, c.item}, func(t *testing.T, at int, value string, e *host.ItemError) {
				if e == nil || e.Kind != host.KindFailed || !strings.Contains(e.Message, c.says) {
					t.Errorf("item %d: got %.60q, %v, want failed with %q", at, value, e, c.says)
				}
			})
		})
	}
}

// glimpse is what a workload sees of its caller's context.
type glimpse struct {
	Left     time.Duration     `json:"left"` // until the deadline; 0 if there is none
	Value    bool              `json:"value"`
	Metadata map[string]string `json:"metadata"`
}

type contextKey struct{}

var look = sdk.Func("look", func(ctx context.Context, wait bool) (glimpse, error) {
	if wait {
		<-ctx.Done()
		return glimpse{}, fmt.Errorf("stopped: %w", ctx.Err())
	}
	s := glimpse{Value: ctx.Value(contextKey{}) != nil, Metadata: sdk.Metadata(ctx)}
	if at, ok := ctx.Deadline(); ok {
		s.Left = time.Until(at)
	}
	derived, cancel := context.WithCancel(ctx) // a context derived from it has the same
	defer cancel()
	s.Value = s.Value || derived.Value(contextKey{}) != nil
	return s, nil
})

func init() { workloads = append(workloads, look) }

func TestAContextSaysTheSameInEveryMode(t *testing.T) {
	pools(t, host.Config{Workload: look}, func(t *testing.T, p *host.Pool) {
		ctx := context.WithValue(t.Context(), contextKey{}, 1)
		bare, err := value(typed[bool, glimpse](p).Do(ctx, false))
		if err != nil || bare.Value || bare.Left != 0 || len(bare.Metadata) > 0 {
			t.Errorf("without deadline and metadata: got %+v, %v, want nothing", bare, err)
		}

		ctx = host.WithMetadata(ctx, map[string]string{"tenant": "a", "trace": "1"})
		ctx = host.WithMetadata(ctx, map[string]string{"trace": "2"})
		ctx, cancel := context.WithTimeout(ctx, time.Hour)
		defer cancel()
		want := map[string]string{"tenant": "a", "trace": "2"}
		all, err := typed[bool, glimpse](p).Map(ctx, make([]bool, 100))
		if err != nil {
			t.Fatal(err)
		}
		for _, got := range all {
			if got.Value || got.Left <= 0 || got.Left > time.Hour || !cmp.Equal(got.Metadata, want) {
				t.Errorf("got %+v, want a deadline in an hour and %v", got, want)
			}
		}
	})
}

func TestADeadlineEndsAnItemInEveryMode(t *testing.T) {
	pools(t, host.Config{Workload: look, Grace: 20 * time.Second}, func(t *testing.T, p *host.Pool) {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		within(t, "Do", 10*time.Second, func() {
			if _, err := value(typed[bool, glimpse](p).Do(ctx, true)); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v, want the context's own error", err)
			}
		})
	})
}

func TestMetadataIsBounded(t *testing.T) {
	many := map[string]string{}
	for i := range 65 {
		many[fmt.Sprint(i)] = ""
	}
	pools(t, host.Config{Workload: look}, func(t *testing.T, p *host.Pool) {
		for says, metadata := range map[string]map[string]string{
			"the limit is 64":        many,
			"the limit is 8192":      {"a": strings.Repeat("x", 8192)},
			"without a key":          {"": "x"},
			"no UTF-8":               {"a": "\xff"},
			`"b" is no UTF-8: "\xe9`: {"b": "\xe9"},
		} {
			ctx := host.WithMetadata(t.Context(), metadata)
			if _, err := value(typed[bool, glimpse](p).Do(ctx, false)); err == nil || !strings.Contains(err.Error(), says) {
				t.Errorf("Do: got %v, want %q", err, says)
			}
			if _, err := typed[bool, glimpse](p).Map(ctx, make([]bool, 3)); err == nil || !strings.Contains(err.Error(), says) {
				t.Errorf("Map: got %v, want %q", err, says)
			}
		}
		most := host.WithMetadata(t.Context(), map[string]string{"a": strings.Repeat("x", 8191)})
		if got, err := value(typed[bool, glimpse](p).Do(most, false)); err != nil || len(got.Metadata["a"]) != 8191 {
			t.Errorf("8192 bytes: got %d bytes, %v, want all of them", len(got.Metadata["a"]), err)
		}
	})
}
