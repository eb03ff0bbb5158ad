//go:build !noserver

package server

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
)

// LoadTLS makes a config of the server's certificate and key, in PEM. If clientCA is not empty, clients have to show a certificate that one of its authorities
// has signed; peers have to as well, and are checked by the same authorities.
func LoadTLS(cert, key, clientCA string) (*tls.Config, error) {
	if cert == "" || key == "" {
		return nil, errors.New("TLS needs both a certificate and its key")
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("certificate %q with key %q: %w", cert, key, err)
	}
	cfg := &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS13}
	if clientCA == "" {
		return cfg, nil
	}
	text, err := os.ReadFile(clientCA)
	if err != nil {
		return nil, fmt.Errorf("authorities: %w", err)
	}
	cfg.ClientCAs = x509.NewCertPool()
	if !cfg.ClientCAs.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("authorities %q: there is no certificate in PEM", clientCA)
	}
	return cfg, nil
}

// strict returns a config that asks for a certificate of each client if it names authorities for them, and by which peers check each other.
func strict(cfg *tls.Config) *tls.Config {
	if cfg == nil {
		return nil
	}
	cfg = cfg.Clone()
	if cfg.ClientCAs != nil {
		cfg.ClientAuth = tls.RequireAndVerifyClientCert
		if cfg.RootCAs == nil {
			cfg.RootCAs = cfg.ClientCAs
		}
	}
	return cfg
}
