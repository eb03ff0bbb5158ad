// Package reduce folds a sequence of integers of any size into one integer: the workload that Python code writes as functools.reduce over
// random.sample.
//
//	{"number": 50000}                                  the product of 50 000 different numbers below 1 000 000
//	{"number": 5, "range": 10, "seed": 1}              the product of 5 different numbers below 10, the same on each run
//	{"values": [1, 2, 3, 4, 5], "op": "add"}           15
//	{"values": [], "op": "add", "initial": 0}          0
//	{"values": [4, -6, "10"], "op": "lcm"}             60
//
// [Run] takes such an [Item] and returns the decimal digits of its result. [Fold] and [Tree] are the two ways to compute it, for callers who already
// have the numbers.
//
// Every result equals Python's: operations on negative numbers (bits as two's complement, [GCD] and [LCM] as math.gcd and math.lcm), an initial value
// that precedes the sequence, a single number that is returned unchanged, and, with a seed, exactly the numbers that random.seed(seed);
// random.sample(range(range), number) draws in CPython 3.11.
//
// The package has no floating-point numbers, no user-defined functions, and no drawing with replacement.
package reduce
