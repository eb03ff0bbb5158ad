// Command bare computes square roots for its parent process with nothing in between. Its times are the limits that bench compares parhost with.
//
// Without arguments it answers each float64 on stdin with its root on stdout. With arguments from and to, it answers each byte on stdin with the same byte,
// after it has replaced the float64s from one index up to the other in the memory that descriptor 3 leads to by their roots.
package main

import (
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"strconv"
)

func main() {
	work, message := root, make([]byte, 8)
	if len(os.Args) == 3 {
		from, err1 := strconv.Atoi(os.Args[1])
		to, err2 := strconv.Atoi(os.Args[2])
		numbers, err := arena(to)
		if err1 != nil || err2 != nil || err != nil {
			fmt.Fprintln(os.Stderr, "bare:", err1, err2, err)
			os.Exit(1)
		}
		message = message[:1]
		work = func([]byte) {
			for i, x := range numbers[from:to] {
				numbers[from+i] = math.Sqrt(x)
			}
		}
	}
	for { // until the parent closes the pipe
		if n, err := os.Stdin.Read(message); err != nil || n < len(message) {
			return
		}
		work(message)
		if _, err := os.Stdout.Write(message); err != nil {
			return
		}
	}
}

func root(message []byte) {
	x := math.Float64frombits(binary.NativeEndian.Uint64(message))
	binary.NativeEndian.PutUint64(message, math.Float64bits(math.Sqrt(x)))
}
