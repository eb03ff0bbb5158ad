package main

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/parhost/parhost/internal/plain"
)

// keyBytes is the length of the key that signs dossiers.
const keyBytes = 32

// keyPath returns the path of the user's key, or "" if there is no home folder for it.
func keyPath() string {
	state := os.Getenv("XDG_STATE_HOME")
	if !filepath.IsAbs(state) {
		home, err := os.UserHomeDir()
		if err != nil || !filepath.IsAbs(home) {
			return ""
		}
		state = filepath.Join(home, ".local", "state")
	}
	return filepath.Join(state, "parhost", "dossiers.key")
}

// readKey returns the key that signs this user's dossiers, or nil if there is none.
func readKey() []byte {
	path := keyPath()
	if path == "" {
		return nil
	}
	key, err := plain.Read(path, keyBytes)
	if err != nil || len(key) != keyBytes {
		return nil
	}
	return key
}

// makeKey returns the key like readKey, but creates it if there is none. If two processes create it at the same time, both use the key that was
// stored first.
func makeKey() ([]byte, error) {
	if key := readKey(); key != nil {
		return key, nil
	}
	path := keyPath()
	if path == "" {
		return nil, errors.New("there is no home folder")
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	folder, err := plain.OpenFolder(dir)
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	key := make([]byte, keyBytes)
	_, _ = rand.Read(key) // rand.Read never fails
	draft := "." + rand.Text()
	if err := plain.Put(folder, draft, 0o600, key); err != nil {
		return nil, err
	}
	defer func() { _ = folder.Remove(draft) }()
	err = folder.Link(draft, filepath.Base(path)) // Link does not replace an existing file
	if errors.Is(err, fs.ErrExist) {
		if key = readKey(); key == nil {
			return nil, errors.New(path + " is no key; remove it")
		}
		err = nil
	}
	return key, err
}
