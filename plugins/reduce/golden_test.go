package reduce

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/big"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// golden is the content of testdata/golden.json: results of CPython 3.11 for sequences and draws, written by testdata/golden.py.
type golden struct {
	Reduce []struct {
		Values  []json.RawMessage
		Initial json.RawMessage
		Want    map[Op]string
	}
	Sample []struct {
		Seed   *big.Int
		Range  int64
		Number int
		Want   []uint64
	}
	Long []struct {
		Seed   *big.Int
		Range  int64
		Number int
		Sample string
	}
	Product []struct {
		Seed   *big.Int
		Number int
		Op     Op
		SHA256 string
	}
}

func readGolden(t *testing.T) golden {
	t.Helper()
	data, err := os.ReadFile("testdata/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	var g golden
	if err := json.Unmarshal(data, &g); err != nil {
		t.Fatal(err)
	}
	return g
}

var ways = map[Method]func(context.Context, Op, []*big.Int, *big.Int) (*big.Int, error){FromLeft: Fold, ByTree: Tree}

func TestBothWaysAgreeWithPython(t *testing.T) {
	for _, c := range readGolden(t).Reduce {
		values, initial := mustIntegers(t, c.Values), (*big.Int)(nil)
		if string(c.Initial) != "null" {
			initial = mustIntegers(t, []json.RawMessage{c.Initial})[0]
		}
		for op, want := range c.Want {
			for method, reduce := range ways {
				got, err := reduce(t.Context(), op, values, initial)
				text := fmt.Sprintf("error: %v", err)
				if err == nil {
					text = got.String()
				}
				if text != want {
					t.Errorf("%s of %s from %s by %s: got %s, want %s", op, c.Values, c.Initial, method, text, want)
				}
			}
		}
	}
}

func mustIntegers(t *testing.T, raw []json.RawMessage) []*big.Int {
	t.Helper()
	values := make([]*big.Int, len(raw))
	for i := range raw {
		v, err := integer("value", raw[i])
		if err != nil {
			t.Fatal(err)
		}
		values[i] = v
	}
	return values
}

func TestSampleDrawsWhatPythonDraws(t *testing.T) {
	g := readGolden(t)
	for _, c := range g.Sample {
		got := draw(t, c.Seed, c.Range, c.Number)
		if want := fmt.Sprint(c.Want); fmt.Sprint(got) != want {
			t.Errorf("sample of %d from range(%d) with seed %v: got %v, want %v", c.Number, c.Range, c.Seed, got, want)
		}
	}
	for _, c := range g.Long {
		got := draw(t, c.Seed, c.Range, c.Number)
		if digest(strings.Trim(fmt.Sprint(got), "[]")) != c.Sample {
			t.Errorf("sample of %d from range(%d) with seed %v: got another draw, it begins with %v", c.Number, c.Range, c.Seed, got[:5])
		}
	}
}

func draw(t *testing.T, seed *big.Int, limit int64, number int) []*big.Int {
	t.Helper()
	got, err := sample(t.Context(), seeded(seed), limit, number)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

func TestRunOfTheNotebooksSizeAgreesWithPython(t *testing.T) {
	for _, c := range readGolden(t).Product {
		for method := range ways {
			got, err := Run(t.Context(), Item{Number: &c.Number, Seed: c.Seed, Op: c.Op, Method: method})
			if err != nil {
				t.Fatal(err)
			}
			if digest(got) != c.SHA256 {
				t.Errorf("%s of %d numbers by %s: got %d digits that are not Python's", c.Op, c.Number, method, len(got))
			}
		}
	}
}

// The golden file comes from one version of Python. If this machine has a Python, the test also compares other draws with it.
func TestSampleAgreesWithThePythonAtHand(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("there is no python3 here to compare with; testdata/golden.json still is")
	}
	const script = `
import random, sys
for line in sys.stdin:
    seed, limit, number = map(int, line.split())
    random.seed(seed)
    print(random.sample(range(limit), number))
`
	var asked, want strings.Builder
	rng := seeded(new(big.Int).SetUint64(rand.Uint64()))
	for range 300 {
		limit := 1 + int64(rng.bits(1+int(rng.below(62))))
		number := int(rng.below(uint64(min(limit, 2000)) + 1))
		seed := new(big.Int).Lsh(new(big.Int).SetUint64(rng.bits(64)), uint(rng.below(200)))
		fmt.Fprintln(&asked, seed, limit, number)
		fmt.Fprintln(&want, strings.ReplaceAll(fmt.Sprint(draw(t, seed, limit, number)), " ", ", "))
	}
	command := exec.CommandContext(t.Context(), python, "-c", script)
	command.Stdin = strings.NewReader(asked.String())
	got, err := command.Output()
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(got, []byte(want.String())) {
		return
	}
	lines, ours, questions := strings.Split(string(got), "\n"), strings.Split(want.String(), "\n"), strings.Split(asked.String(), "\n")
	for i := range lines {
		if lines[i] != ours[i] {
			t.Fatalf("seed, range, number %s: got %s, Python draws %s", questions[i], ours[i], lines[i])
		}
	}
}
