package sdk

import (
	"context"
	"encoding/json"
	"math/big"
	"reflect"
	"testing"
	"time"

	"github.com/google/jsonschema-go/jsonschema"
)

type celsius float64

func (c celsius) MarshalText() ([]byte, error) { return []byte("warm"), nil }

type anything struct{ v any }

func (a anything) MarshalJSON() ([]byte, error) { return json.Marshal(a.v) }

type node struct {
	Value int    `json:"value"`
	Next  *node  `json:"next,omitempty"`
	Name  string `json:"name,omitempty"`
}

type mixed struct {
	Data   []byte          `json:"data"`
	Raw    json.RawMessage `json:"raw"`
	Big    *big.Int        `json:"big"`
	Number json.Number     `json:"number"`
	At     time.Time       `json:"at"`
	Warm   celsius         `json:"warm"`
	Any    *anything       `json:"any"`
	List   []anything      `json:"list"`
}

// The schema of a type must allow every JSON text that encoding/json produces for its values.
func TestTheSchemaOfATypeAllowsItsValues(t *testing.T) {
	for name, v := range map[string]any{
		"bytes":               []byte("ab"),
		"no bytes":            []byte(nil),
		"raw JSON":            json.RawMessage(`{"a": [1]}`),
		"a large integer":     big.NewInt(7),
		"a number":            json.Number("1.5"),
		"text of its own":     celsius(20),
		"JSON of its own":     anything{[]int{1}},
		"a list that recurs":  node{1, &node{Value: 2}, ""},
		"all of it":           mixed{[]byte("x"), json.RawMessage(`1`), big.NewInt(1), "2", time.Now(), 1, &anything{"s"}, []anything{{1}, {nil}}},
		"all of it, but nil":  mixed{Raw: json.RawMessage(`null`), Number: "0"},
		"a map":               map[string][]byte{"a": {1}},
		"an array of numbers": [2]float32{1, 2},
	} {
		t.Run(name, func(t *testing.T) {
			text, err := schemaOf(nil, reflect.TypeOf(v))
			if err != nil {
				t.Fatal(err)
			}
			var s jsonschema.Schema
			if err := json.Unmarshal([]byte(text), &s); err != nil {
				t.Fatal(err)
			}
			r, err := s.Resolve(nil)
			if err != nil {
				t.Fatal(err)
			}
			encoded, err := json.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			var decoded any
			if err := json.Unmarshal(encoded, &decoded); err != nil {
				t.Fatal(err)
			}
			if err := r.Validate(decoded); err != nil {
				t.Errorf("%s does not allow %s: %v", text, encoded, err)
			}
		})
	}
}

func TestTheAuthorsSchemaWins(t *testing.T) {
	w := Func("w", func(_ context.Context, x int) (int, error) { return x, nil }).With(Manifest{ItemSchema: json.RawMessage(`{"minimum": 1}`)})
	m, err := w.erase().describe(true)
	if err != nil || m.GetItemSchema() != `{"minimum": 1}` || m.GetResultSchema() != `{"type":"integer"}` {
		t.Errorf("got %q and %q (%v)", m.GetItemSchema(), m.GetResultSchema(), err)
	}
	if _, err := w.With(Manifest{ItemSchema: json.RawMessage(`{`)}).erase().describe(true); err == nil {
		t.Error("a schema that is not JSON: got no error")
	}
}
