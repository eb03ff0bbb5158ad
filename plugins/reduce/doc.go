// Package reduce folds a sequence of integers of any size into one: the workload that Python writes as functools.reduce over
// random.sample.
//
//	{"number": 50000}                                  the product of 50 000 different numbers below 1 000 000
//	{"number": 5, "range": 10, "seed": 1}              the product of 5 different numbers below 10, the same on each run
//	{"values": [1, 2, 3, 4, 5], "op": "add"}           15
//	{"values": [], "op": "add", "initial": 0}          0
//	{"values": [4, -6, "10"], "op": "lcm"}             60
//
// [Run] takes one such [Item] and returns the decimal digits of its result. [Fold] and [Tree] are the two ways to get there, for
// callers who have the numbers already.
//
// Every result equals Python's: the operations on negative numbers (bits as two's complement, [GCD] and [LCM] as math.gcd and
// math.lcm), an initial value that stands before the sequence, a single number that is returned untouched, and, with a seed, the
// very numbers that random.seed(seed); random.sample(range(range), number) draws in CPython 3.11.
//
// It has no floating-point numbers, no functions of the user's own, and no way to draw with replacement.
package reduce
