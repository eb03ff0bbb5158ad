package main

import (
	"context"
	"fmt"
	"math/big"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/plugins/reduce"
)

// reduceRow is taken from the notebook: two processes draw random numbers and multiply them.
func reduceRow() row {
	const tree, fold, processes = ours + ", tree", ours + ", left fold", "two multiprocessing.Process"
	return row{
		name:  "reduce",
		title: "the product of 50 000 random numbers, twice",
		about: "Two processes draw 50 000 numbers below 1 000 000 each and multiply them; starting and ending the processes counts. Python folds from the left, as parhost can; by default it multiplies in a tree. The seeds are given and both draw the same numbers. parhost also writes the product's 278 000 digits, which takes longer than the tree; Python, where that takes over a second, sends a remainder.",
		size:  50_000, small: 500,
		timed: 2,
		want: func(ctx context.Context, _ *lab, n int) (string, error) {
			var products [2]string
			for i := range products {
				var err error
				if products[i], err = reduce.Run(ctx, reduceItem(n, i, reduce.ByTree)); err != nil {
					return "", err
				}
			}
			return remainders(products[:])
		},
		contenders: []contender{
			reduced(tree, reduce.ByTree),
			reduced(fold, reduce.FromLeft),
			peer(processes, "mp_process", "fold"),
		},
		goals: []goal{
			timesFaster(tree, 20, processes),
			timesFaster(fold, 4, processes),
		},
	}
}

func reduceItem(n, i int, method reduce.Method) reduce.Item {
	return reduce.Item{Number: &n, Seed: big.NewInt(int64(i + 1)), Method: method}
}

func reduced(name string, method reduce.Method) contender {
	return contender{name: name, measure: func(ctx context.Context, l *lab, n int) (measurement, error) {
		var products [2]string
		samples, err := sample(l, func() error {
			pool, err := host.OpenWorkload(ctx, reduce.Workload, host.Config{Workers: len(products)})
			if err != nil {
				return err
			}
			defer pool.Close()
			g, ctx := errgroup.WithContext(ctx)
			for i := range products {
				g.Go(func() error {
					product, err := pool.Do(ctx, reduceItem(n, i, method))
					products[i] = product.Value
					return err
				})
			}
			return g.Wait()
		})
		if err != nil {
			return measurement{}, err
		}
		answer, err := remainders(products[:])
		return measurement{samples: samples, answer: answer}, err
	}}
}

// remainders turns the products into an answer that Python can print quickly too: their remainders modulo 2⁶¹ − 1.
func remainders(products []string) (string, error) {
	modulus := new(big.Int).SetUint64(1<<61 - 1)
	var parts []string
	for _, p := range products {
		v, ok := new(big.Int).SetString(p, 10)
		if !ok {
			return "", fmt.Errorf("%.40q is no number", p)
		}
		parts = append(parts, v.Mod(v, modulus).String())
	}
	return strings.Join(parts, " "), nil
}
