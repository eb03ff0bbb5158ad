package sandbox

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/parhost/parhost/internal/plain"
)

// ChecksumError says that an executable does not have the expected checksum.
type ChecksumError struct {
	Path      string
	Want, Got string // SHA-256, in hexadecimal
}

func (e *ChecksumError) Error() string {
	return fmt.Sprintf("%q has the SHA-256 %s, want %s", e.Path, e.Got, e.Want)
}

// ChangedError says that a plugin, or a file that starts it, has changed since its pool was opened.
type ChangedError struct {
	Path string
	Err  error // says what has changed
}

func (e *ChangedError) Error() string {
	return fmt.Sprintf("%q was changed while the pool lives: %v; start the run again", e.Path, e.Err)
}

func (e *ChangedError) Unwrap() error { return e.Err }

// maxProgram is the size in bytes of the largest executable that is read, because the host keeps it in memory.
const maxProgram = 2 << 30

// Checksum returns the SHA-256 of a regular file of up to 2 GiB, in hexadecimal. It never blocks, even if something else, such as a pipe, has taken
// the file's place.
func Checksum(path string) (string, error) { return checksumOf(context.Background(), path) }

// checksumOf is [Checksum] with a context. Reading stops when ctx ends.
func checksumOf(ctx context.Context, path string) (string, error) {
	f, err := plain.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	return fileChecksum(ctx, f)
}

// fileChecksum hashes a file from its current offset to its end. Reading stops when ctx ends.
func fileChecksum(ctx context.Context, f *os.File) (string, error) {
	sum := sha256.New()
	_, err := plain.Copy(until{sum, ctx.Done()}, f, maxProgram)
	return hex.EncodeToString(sum.Sum(nil)), err
}

// until is a writer whose writes fail once a channel is closed.
type until struct {
	io.Writer
	over <-chan struct{}
}

func (w until) Write(b []byte) (int, error) {
	select {
	case <-w.over:
		return 0, os.ErrClosed
	default:
		return w.Writer.Write(b)
	}
}

// compare returns a [*ChecksumError] if want is not empty and differs from got.
func compare(path, want, got string) error {
	if want != "" && !strings.EqualFold(want, got) {
		return &ChecksumError{Path: path, Want: strings.ToLower(want), Got: got}
	}
	return nil
}

// unchanged returns a [*ChangedError] if a file no longer has the checksum sum. An empty sum accepts every file.
func unchanged(path, sum string) error {
	if sum == "" {
		return nil
	}
	got, err := Checksum(path)
	if err == nil && got != sum {
		err = otherBytes(sum, got)
	}
	if err != nil {
		return &ChangedError{path, err}
	}
	return nil
}

func otherBytes(was, is string) error { return fmt.Errorf("it had the SHA-256 %s and has %s", was, is) }
