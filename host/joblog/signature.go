package joblog

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
)

// The signature of a dossier is its last line but one. It is the HMAC-SHA-256, in hexadecimal digits, of all that stands before it.
const (
	beginSignature = ",\n  \"signature\": \""
	endSignature   = "\"\n}\n"
)

// Sign has the dossiers that follow signed with a key, by which [ReadSignedDossier] knows them. The key is not to be read by workers.
func (d *Dossiers) Sign(key []byte) { d.key = key }

func signatureOf(key, text []byte) []byte {
	mac := hmac.New(sha256.New, key)
	_, _ = mac.Write(text) // never fails
	return mac.Sum(nil)
}

// addSignature returns the file of a dossier with its signature.
func addSignature(key, file []byte) []byte {
	text := bytes.TrimSuffix(file, []byte("\n}\n"))
	signature := hex.EncodeToString(signatureOf(key, text))
	return append(append(append(text, beginSignature...), signature...), endSignature...)
}

// isSigned reports whether the file of a dossier has the signature of a key.
func isSigned(key, file []byte) bool {
	from := bytes.LastIndex(file, []byte(beginSignature))
	if from < 0 || len(key) == 0 {
		return false
	}
	digits, found := bytes.CutSuffix(file[from+len(beginSignature):], []byte(endSignature))
	signature, err := hex.DecodeString(string(digits))
	return found && err == nil && hmac.Equal(signature, signatureOf(key, file[:from]))
}
