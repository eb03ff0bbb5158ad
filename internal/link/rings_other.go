//go:build !linux

package link

import (
	"errors"
	"os"
)

// rings is empty: only Linux has rings.
type rings struct{}

func (*rings) close() {}

func (*Link) adoptRings() {}

var errNoRings = errors.New("rings are on Linux alone")

// Offer returns an error on this system.
func (*Link) Offer() ([]*os.File, error) { return nil, errNoRings }

// Take returns an error on this system.
func (*Link) Take(int, int, int) error { return errNoRings }
