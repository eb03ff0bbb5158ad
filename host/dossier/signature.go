package dossier

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
)

// The signature of a dossier is the line before the last. It is the HMAC-SHA-256, in hexadecimal, of everything before it.
const (
	beginSignature = ",\n  \"signature\": \""
	endSignature   = "\"\n}\n"
)

// Sign sets the key with which all dossiers written from now on are signed; [ReadSigned] verifies them with the same key. Workers must not be
// able to read the key.
func (d *Folder) Sign(key []byte) { d.key = key }

func signatureOf(key, text []byte) []byte {
	mac := hmac.New(sha256.New, key)
	_, _ = mac.Write(text) // never fails
	return mac.Sum(nil)
}

// addSignature inserts the signature into the text of a dossier.
func addSignature(key, file []byte) []byte {
	text := bytes.TrimSuffix(file, []byte("\n}\n"))
	signature := hex.EncodeToString(signatureOf(key, text))
	return append(append(append(text, beginSignature...), signature...), endSignature...)
}

// isSigned reports whether the text of a dossier has a valid signature by key.
func isSigned(key, file []byte) bool {
	from := bytes.LastIndex(file, []byte(beginSignature))
	if from < 0 || len(key) == 0 {
		return false
	}
	digits, found := bytes.CutSuffix(file[from+len(beginSignature):], []byte(endSignature))
	signature, err := hex.DecodeString(string(digits))
	return found && err == nil && hmac.Equal(signature, signatureOf(key, file[:from]))
}
