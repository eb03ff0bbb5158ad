package carrier

import (
	"bufio"
	"context"
	"crypto/tls"
	"net"
	"net/url"
	"strings"
	"time"
)

// verdict returns what a server says about this program's certificate, if it has closed the connection because of it; else err.
//
// With TLS 1.3 a server judges the certificate after the client's handshake is done (RFC 8446, section 4.4). The library then writes at once, and if the server
// has closed by then, what it said is lost. So this makes one more connection, and only reads.
func verdict(ctx context.Context, o Options, err error) error {
	if !strings.Contains(err.Error(), "after TLS handshake") {
		return err
	}
	for address := range strings.SplitSeq(o.URLs, ",") {
		if u, parseErr := url.Parse(strings.TrimSpace(address)); parseErr == nil {
			if said := alert(ctx, u.Host, o.TLS); said != nil {
				return said
			}
		}
	}
	return err
}

// alert returns the alert with which a server ends a connection, or nil.
func alert(ctx context.Context, address string, cfg *tls.Config) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(3 * time.Second))
	if _, err := bufio.NewReaderSize(conn, 1<<15).ReadString('\n'); err != nil { // what the server says of itself comes before the handshake
		return nil
	}
	if cfg == nil {
		cfg = &tls.Config{}
	}
	cfg = cfg.Clone()
	if cfg.ServerName == "" {
		cfg.ServerName, _, _ = net.SplitHostPort(address)
	}
	secure := tls.Client(conn, cfg)
	if err = secure.HandshakeContext(ctx); err == nil {
		_, err = secure.Read(make([]byte, 1))
	}
	if err != nil && strings.HasPrefix(err.Error(), "remote error") {
		return err
	}
	return nil
}
