package reduce

import (
	"encoding/json"
	"math/big"
	"reflect"
	"strings"
	"testing"
)

func TestItemReads(t *testing.T) {
	five, ten, none := 5, int64(10), 0
	long := strings.Repeat("1234567890", 3000)
	longInteger, _ := new(big.Int).SetString(long, 10)
	for name, c := range map[string]struct {
		json string
		want Item
	}{
		"a draw":                {`{"number":5,"range":10,"seed":1}`, Item{Number: &five, Range: &ten, Seed: big.NewInt(1)}},
		"a draw of nothing":     {`{"number":0}`, Item{Number: &none}},
		"a list":                {`{"values":[1,-2,3],"op":"add","initial":0}`, Item{Values: integerList(1, -2, 3), Op: Add, Initial: big.NewInt(0)}},
		"an empty list":         {`{"values":[]}`, Item{Values: []*big.Int{}}},
		"strings of digits":     {`{"values":["1","-2","003"],"initial":"-4"}`, Item{Values: integerList(1, -2, 3), Initial: big.NewInt(-4)}},
		"null for absent":       {`{"number":5,"range":null,"seed":null,"values":null,"op":null,"initial":null}`, Item{Number: &five}},
		"minus zero":            {`{"values":[-0]}`, Item{Values: integerList(0)}},
		"30000 digits":          {`{"values":[` + long + `]}`, Item{Values: []*big.Int{longInteger}}},
		"30000 digits, a minus": {`{"values":["-` + long + `"]}`, Item{Values: []*big.Int{new(big.Int).Neg(longInteger)}}},
		"a method":              {` {"number":5,"method":"left"}`, Item{Number: &five, Method: FromLeft}},
	} {
		t.Run(name, func(t *testing.T) {
			var got Item
			if err := json.Unmarshal([]byte(c.json), &got); err != nil {
				t.Fatal(err)
			}
			if !sameItem(t, got, c.want) {
				t.Errorf("got %s, want %s", written(t, got), written(t, c.want))
			}
		})
	}
}

func TestItemRefuses(t *testing.T) {
	for name, c := range map[string]struct{ json, want string }{
		"a fraction":          {`{"values":[1,1.5]}`, `values[1] is 1.5, want an integer such as 15 or "15"`},
		"an exponent":         {`{"initial":1e3}`, `initial is 1e3, want an integer such as 15 or "15"`},
		"a word":              {`{"values":["ten"]}`, `values[0] is "ten", want an integer such as 15 or "15"`},
		"an empty string":     {`{"seed":""}`, `seed is "", want an integer such as 15 or "15"`},
		"a lone minus":        {`{"seed":"-"}`, `seed is "-", want an integer such as 15 or "15"`},
		"null among values":   {`{"values":[1,null]}`, `values[1] is null, want an integer such as 15 or "15"`},
		"a boolean":           {`{"number":true}`, `number is true, want an integer such as 15 or "15"`},
		"a negative number":   {`{"number":-1}`, `number is -1, want 0 to 10000000`},
		"a huge number":       {`{"number":99999999999999999999}`, `number is 99999999999999999999, want 0 to 10000000`},
		"a negative range":    {`{"number":1,"range":-1}`, `range is -1, want 0 to 9223372036854775807`},
		"values in no list":   {`{"values":5}`, `values is 5, want a list such as [1,2,3]`},
		"op not in quotes":    {`{"op":5}`, `op is 5, want a name in quotes`},
		"a misspelt field":    {`{"valeus":[1]}`, `field "valeus" is unknown, want number, range, seed, values, op, initial or method`},
		"a list":              {`[1,2,3]`, `item is [1,2,3], want an object such as {"number":5} or {"values":[1,2,3]}`},
		"null":                {`null`, `item is null, want an object such as {"number":5} or {"values":[1,2,3]}`},
		"a long wrong number": {`{"seed":` + strings.Repeat("7", 99) + `.5}`, `seed is ` + strings.Repeat("7", 40) + `…, want an integer such as 15 or "15"`},
	} {
		t.Run(name, func(t *testing.T) {
			err := json.Unmarshal([]byte(c.json), new(Item))
			if err == nil || err.Error() != c.want {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}

func TestSchemaNamesEveryField(t *testing.T) {
	var schema struct{ Properties map[string]any }
	if err := json.Unmarshal([]byte(Schema), &schema); err != nil {
		t.Fatal(err)
	}
	for field := range setters {
		if schema.Properties[field] == nil {
			t.Errorf("the schema lacks %s", field)
		}
	}
	if got, want := len(schema.Properties), reflect.TypeFor[Item]().NumField(); got != want {
		t.Errorf("the schema has %d fields, want %d", got, want)
	}
}

// Every item that can be read can also be written, and reads as the same item again.
func FuzzItem(f *testing.F) {
	for _, seed := range []string{
		`{"number":5,"range":10,"seed":1}`, `{"values":[1,2,3],"op":"add","initial":0}`, `{"values":["-7"],"method":"tree"}`,
		`{"values":[]}`, `{"initial":-0}`, `{"seed":1e3}`, `{"number":null}`, `[1]`, `{"values":["\u0031"]}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var first, second Item
		if json.Unmarshal(data, &first) != nil {
			return
		}
		again := written(t, first)
		if err := json.Unmarshal(again, &second); err != nil {
			t.Fatalf("%s reads, but is written as %s, and that does not: %v", data, again, err)
		}
		if !sameItem(t, first, second) {
			t.Fatalf("%s reads as %s, then as %s", data, again, written(t, second))
		}
	})
}

func sameItem(t *testing.T, a, b Item) bool {
	t.Helper()
	return string(written(t, a)) == string(written(t, b)) && (a.Values == nil) == (b.Values == nil)
}

func written(t *testing.T, item Item) []byte {
	t.Helper()
	data, err := json.Marshal(item)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func integerList(values ...int64) []*big.Int {
	list := make([]*big.Int, len(values))
	for i, v := range values {
		list[i] = big.NewInt(v)
	}
	return list
}
