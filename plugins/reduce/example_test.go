package reduce_test

import (
	"context"
	"fmt"
	"math/big"

	"github.com/parhost/parhost/plugins/reduce"
)

func ExampleRun() {
	number, limit := 5, int64(10)
	product, err := reduce.Run(context.Background(), reduce.Item{Number: &number, Range: &limit, Seed: big.NewInt(4)})
	fmt.Println(product, err)
	// Output: 540 <nil>
}

func ExampleFold() {
	numbers := []*big.Int{big.NewInt(4), big.NewInt(-6), big.NewInt(10)}
	multiple, err := reduce.Fold(context.Background(), reduce.LCM, numbers, nil)
	fmt.Println(multiple, err)
	// Output: 60 <nil>
}

func ExampleTree() {
	var numbers []*big.Int
	for i := range int64(25) {
		numbers = append(numbers, big.NewInt(i+1))
	}
	factorial, err := reduce.Tree(context.Background(), reduce.Mul, numbers, nil)
	fmt.Println(factorial, err)
	// Output: 15511210043330985984000000 <nil>
}
