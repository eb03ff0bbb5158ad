package main

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"math"
)

// numbers returns the items 0 to n-1 as numbers.
func numbers(n int) []float64 {
	xs := make([]float64, n)
	for i := range xs {
		xs[i] = float64(i)
	}
	return xs
}

// digest returns a short hash of the values. measure.py computes the same hash.
func digest(values []float64) string {
	d := newDigester()
	for _, v := range values {
		d.add(v)
	}
	return d.text()
}

// digester computes a digest of values that arrive one by one.
type digester struct {
	hash   hash.Hash
	column []byte
}

func newDigester() *digester { return &digester{hash: sha256.New()} }

func (d *digester) add(v float64) {
	d.column = binary.LittleEndian.AppendUint64(d.column, math.Float64bits(v))
	if len(d.column) >= 1<<16 {
		d.hash.Write(d.column)
		d.column = d.column[:0]
	}
}

func (d *digester) text() string {
	d.hash.Write(d.column)
	d.column = d.column[:0]
	return hex.EncodeToString(d.hash.Sum(nil))[:16]
}

// wantRoots returns the right answer of every row that takes the roots of 0 to n-1.
func wantRoots(_ context.Context, _ *lab, n int) (string, error) {
	d := newDigester()
	for i := range n {
		d.add(math.Sqrt(float64(i)))
	}
	return d.text(), nil
}
