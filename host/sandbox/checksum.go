package sandbox

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"strings"
)

// ChecksumError says that an executable is not the one that was meant.
type ChecksumError struct {
	Path      string
	Want, Got string // SHA-256, in hexadecimal
}

func (e *ChecksumError) Error() string {
	return fmt.Sprintf("%q has the SHA-256 %s, want %s", e.Path, e.Got, e.Want)
}

// Checksum returns the SHA-256 of a file, in hexadecimal.
func Checksum(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	return checksum(f)
}

func checksum(r io.Reader) (string, error) {
	sum := sha256.New()
	if _, err := io.Copy(sum, r); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// compare says whether a checksum is that which was wanted, if one was.
func compare(path, want, got string) error {
	if want != "" && !strings.EqualFold(want, got) {
		return &ChecksumError{Path: path, Want: strings.ToLower(want), Got: got}
	}
	return nil
}

// compareAgain reads a file that its program will read once more, and compares that.
func compareAgain(path, want string) error {
	if want == "" {
		return nil
	}
	got, err := Checksum(path)
	if err != nil {
		return err
	}
	return compare(path, want, got)
}
