package reduce

import (
	"context"
	"math/big"
	"testing"
)

// The size of the notebook's item, with a seed that draws no zero.
const (
	benchNumber = 50_000
	benchSeed   = 1
)

func benchValues(b *testing.B) []*big.Int {
	b.Helper()
	values, err := sample(context.Background(), seeded(big.NewInt(benchSeed)), DefaultRange, benchNumber)
	if err != nil {
		b.Fatal(err)
	}
	return values
}

func benchProduct(b *testing.B) *big.Int {
	b.Helper()
	product, err := Tree(b.Context(), Mul, benchValues(b), nil)
	if err != nil {
		b.Fatal(err)
	}
	return product
}

// BenchmarkRun measures a whole item: drawing, multiplying and writing the digits.
func BenchmarkRun(b *testing.B) {
	number := benchNumber
	for method := range ways {
		b.Run(string(method), func(b *testing.B) {
			item := Item{Number: &number, Seed: big.NewInt(benchSeed), Method: method}
			for b.Loop() {
				if _, err := Run(b.Context(), item); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkDraw measures the first third of BenchmarkRun, the drawing.
func BenchmarkDraw(b *testing.B) {
	for b.Loop() {
		benchValues(b)
	}
}

// BenchmarkReduce measures the second third of BenchmarkRun, the reduction, for each operation.
func BenchmarkReduce(b *testing.B) {
	for op := range rules {
		for method, reduce := range ways {
			b.Run(string(op)+"/"+string(method), func(b *testing.B) {
				values := benchValues(b)
				for b.Loop() {
					if _, err := reduce(b.Context(), op, values, nil); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkPlainLoop multiplies number by number, without first multiplying short factors within a machine word. It shows what that shortcut saves.
func BenchmarkPlainLoop(b *testing.B) {
	values := benchValues(b)
	for b.Loop() {
		product := rules[Mul].room(values).Set(values[0])
		for _, v := range values[1:] {
			product.Mul(product, v)
		}
	}
}

// BenchmarkWrite measures the last third of BenchmarkRun, writing the decimal digits of the product.
func BenchmarkWrite(b *testing.B) {
	product := benchProduct(b)
	for b.Loop() {
		_ = product.String()
	}
}

// BenchmarkRead measures how long it takes to read the digits of the product again.
func BenchmarkRead(b *testing.B) {
	digits := []byte(benchProduct(b).String())
	for b.Loop() {
		if _, err := integer("values[0]", digits); err != nil {
			b.Fatal(err)
		}
	}
}
