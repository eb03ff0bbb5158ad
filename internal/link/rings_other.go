//go:build !linux

package link

import (
	"errors"
	"os"
)

// rings are on Linux alone.
type rings struct{}

func (*rings) close() {}

func (*Link) adoptRings() {}

var errNoRings = errors.New("rings are on Linux alone")

// Offer has no means here.
func (*Link) Offer() ([]*os.File, error) { return nil, errNoRings }

// Take has no means here.
func (*Link) Take(int, int, int) error { return errNoRings }
