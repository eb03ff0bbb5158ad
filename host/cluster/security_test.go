package cluster_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"math"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/host/cluster"
	"github.com/parhost/parhost/host/cluster/server"
	"github.com/parhost/parhost/plugins/sqrt"
)

// authority signs certificates of a test.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string // its certificate, in PEM
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{}
	a.cert, a.key, a.file, _ = sign(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: "authority"}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign,
	}, nil)
	return a
}

// sign makes a certificate for this machine. Without an authority it signs itself.
func sign(t *testing.T, cert *x509.Certificate, by *authority) (signed *x509.Certificate, key *ecdsa.PrivateKey, certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert.SerialNumber = big.NewInt(time.Now().UnixNano())
	cert.NotBefore = time.Now().Add(-2 * time.Hour)
	if by == nil {
		by = &authority{cert: cert, key: key}
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, by.cert, &key.PublicKey, by.key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if signed, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return signed, key, certFile, keyFile
}

// issue makes a certificate for both sides of a connection to this machine, which is valid for a time from now on.
func (a *authority) issue(t *testing.T, valid time.Duration) (certFile, keyFile string) {
	t.Helper()
	_, _, certFile, keyFile = sign(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: "parhost"}, NotAfter: time.Now().Add(valid), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, a)
	return certFile, keyFile
}

// client returns a client's config that trusts the authority. Without files it has no certificate.
func (a *authority) client(t *testing.T, certFile, keyFile string) *tls.Config {
	t.Helper()
	cfg := &tls.Config{RootCAs: x509.NewCertPool()}
	cfg.RootCAs.AddCert(a.cert)
	if certFile != "" {
		pair, err := tls.LoadX509KeyPair(certFile, keyFile)
		if err != nil {
			t.Fatal(err)
		}
		// Not Certificates: a client leaves out one that no authority of the server has signed, and then the server cannot say what is wrong with it.
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	}
	return cfg
}

// newKey makes a key, and the file of its seed.
func newKey(t *testing.T) (public, file string) {
	t.Helper()
	seed, public, err := server.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(t.TempDir(), "seed")
	if err := os.WriteFile(file, seed, 0o600); err != nil {
		t.Fatal(err)
	}
	return public, file
}

// guarded starts a server with TLS and users.
func guarded(t *testing.T, a *authority, valid time.Duration, users ...server.User) *server.Server {
	t.Helper()
	cert, key := a.issue(t, valid)
	cfg, err := server.LoadTLS(cert, key, a.file)
	if err != nil {
		t.Fatal(err)
	}
	s, err := server.Open(server.Config{Store: t.TempDir(), Listen: "127.0.0.1:0", TLS: cfg, Users: users})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Shutdown)
	if err := s.MakeStreams(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestAJobRunsWithRestrictedKeysAndTLS(t *testing.T) {
	a := newAuthority(t)
	submitter, submitterFile := newKey(t)
	node, nodeFile := newKey(t)
	s := guarded(t, a, time.Hour, server.User{Key: submitter, Role: server.RoleSubmitter, Tenant: "a"}, server.User{Key: node, Role: server.RoleNode})
	runsRestricted(t, s.URL(), a, submitterFile, nodeFile)
}

// runsRestricted runs a job of tenant a, and asks for all that a submitter may know.
func runsRestricted(t *testing.T, url string, a *authority, submitterFile, nodeFile string) {
	t.Helper()
	connect := func(name, file, tenant string) *cluster.Cluster {
		cfg := cluster.Config{
			URL: url, KeyFile: file, Tenant: tenant, Logger: hclog.New(&hclog.LoggerOptions{Name: name, Level: hclog.Debug, Output: t.Output()}),
		}
		if a != nil {
			cert, key := a.issue(t, time.Hour)
			cfg.TLS = a.client(t, cert, key)
		}
		c, err := cluster.Connect(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		return c
	}
	join(t, connect("node", nodeFile, ""), cluster.NodeConfig{Name: "node", Slots: 1})
	c := connect("submitter", submitterFile, "a")
	job, err := c.Open(t.Context(), cluster.JobConfig{ID: "roots", Config: host.Config{Workload: sqrt.Workload}})
	if err != nil {
		t.Fatal(err)
	}
	const items = 20_000
	next := 0
	for r, err := range job.Stream(t.Context(), numbers(items)) {
		if err != nil {
			t.Fatal(err)
		}
		var got float64
		if r.Err != nil || r.Index != next || json.Unmarshal(r.Value, &got) != nil || got != math.Sqrt(float64(next)) {
			t.Fatalf("got %+v, want the root of %d", r, next)
		}
		next++
	}
	if next != items {
		t.Fatalf("got %d results, want %d", next, items)
	}
	jobs, err := c.Jobs(t.Context())
	if err != nil || len(jobs) != 1 || jobs[0].ID != "roots" || jobs[0].State != "done" || jobs[0].Done != items {
		t.Errorf("Jobs: got %+v, %v, want the job", jobs, err)
	}
	if nodes, err := c.Nodes(t.Context()); err != nil || len(nodes) != 1 {
		t.Errorf("Nodes: got %+v, %v, want one", nodes, err)
	}
	if q, err := c.Queue(t.Context(), "default"); err != nil || q.Waiting != 0 || q.Slots != 1 {
		t.Errorf("Queue: got %+v, %v, want one slot and nothing waiting", q, err)
	}
	job.Forget(t.Context())
	if jobs, err := c.Jobs(t.Context()); err != nil || len(jobs) != 0 {
		t.Errorf("Jobs after Forget: got %+v, %v, want none", jobs, err)
	}
}

func TestConnectSaysWhatIsWrong(t *testing.T) {
	a, other := newAuthority(t), newAuthority(t)
	known, knownFile := newKey(t)
	node, nodeFile := newKey(t)
	_, unknownFile := newKey(t)
	users := []server.User{{Key: known, Role: server.RoleSubmitter, Tenant: "a"}, {Key: node, Role: server.RoleNode}}
	good, expired := guarded(t, a, time.Hour, users...), guarded(t, a, -time.Hour, users...)
	cert, key := a.issue(t, time.Hour)
	oldCert, oldKey := a.issue(t, -time.Hour)
	otherCert, otherKey := other.issue(t, time.Hour)
	mine := a.client(t, cert, key)
	notASeed := filepath.Join(t.TempDir(), "seed")
	if err := os.WriteFile(notASeed, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	said := map[string]string{}
	for name, test := range map[string]struct {
		url     string
		tls     *tls.Config
		key     string
		tenant  string
		want    string
		refused bool
	}{
		"expired server certificate":  {url: expired.URL(), tls: mine, key: knownFile, want: "the server's certificate has expired"},
		"wrong authority":             {tls: other.client(t, cert, key), key: knownFile, want: "the server's certificate is signed by an authority that is not trusted here"},
		"wrong name":                  {url: strings.Replace(good.URL(), "127.0.0.1", "localhost", 1), tls: mine, key: knownFile, want: "the server's certificate is for another name"},
		"no client certificate":       {tls: a.client(t, "", ""), key: knownFile, want: "the server asks for a certificate", refused: true},
		"expired client certificate":  {tls: a.client(t, oldCert, oldKey), key: knownFile, want: "this program's certificate has expired", refused: true},
		"client of another authority": {tls: a.client(t, otherCert, otherKey), key: knownFile, want: "this program's certificate is signed by an authority that the server does not trust", refused: true},
		"no key":                      {tls: mine, want: "the server asks for a key", refused: true},
		"unknown key":                 {tls: mine, key: unknownFile, want: "the server does not know the key", refused: true},
		"missing key file":            {tls: mine, key: filepath.Join(t.TempDir(), "none"), want: "KeyFile"},
		"no seed in the key file":     {tls: mine, key: notASeed, want: "KeyFile"},
		"other tenant":                {tls: mine, key: knownFile, tenant: "b", want: `the key is not one of tenant "b"`, refused: true},
	} {
		t.Run(name, func(t *testing.T) {
			if test.url == "" {
				test.url = good.URL()
			}
			if test.tenant == "" {
				test.tenant = "a"
			}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			c, err := cluster.Connect(ctx, cluster.Config{URL: test.url, TLS: test.tls, KeyFile: test.key, Tenant: test.tenant})
			if err == nil {
				c.Close()
				t.Fatal("Connect succeeded")
			}
			t.Log(err)
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %q, want %q in it", err, test.want)
			}
			if got := errors.Is(err, cluster.ErrRefused); got != test.refused {
				t.Errorf("matches ErrRefused: %v, want %v", got, test.refused)
			}
			if before := said[err.Error()]; before != "" {
				t.Errorf("the error is the same as that of %q", before)
			}
			said[err.Error()] = name
		})
	}
	for name, file := range map[string]string{"node": nodeFile, "submitter": knownFile} {
		c, err := cluster.Connect(t.Context(), cluster.Config{URL: good.URL(), TLS: mine, KeyFile: file, Tenant: "a"})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if name == "node" {
			if _, err = c.Open(t.Context(), cluster.JobConfig{Config: host.Config{Workload: sqrt.Workload}}); !errors.Is(err, cluster.ErrRefused) {
				t.Errorf("Open with the key of a node: got %v, want one that matches ErrRefused", err)
			}
			continue
		}
		if err := c.Serve(t.Context(), cluster.NodeConfig{Workloads: workloads, CacheDir: t.TempDir()}); !errors.Is(err, cluster.ErrRefused) {
			t.Errorf("Serve with the key of a submitter: got %v, want one that matches ErrRefused", err)
		}
	}
}

func TestARestrictedKeySaysThatStreamsAreMissing(t *testing.T) {
	submitter, submitterFile := newKey(t)
	node, nodeFile := newKey(t)
	operator, operatorFile := newKey(t)
	s, err := server.Open(server.Config{Store: t.TempDir(), Listen: "127.0.0.1:0", Users: []server.User{
		{Key: submitter, Role: server.RoleSubmitter, Tenant: "a"}, {Key: node, Role: server.RoleNode}, {Key: operator, Role: server.RoleOperator},
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Shutdown)
	open := func(file string) error {
		c, err := cluster.Connect(t.Context(), cluster.Config{URL: s.URL(), KeyFile: file, Tenant: "a"})
		if err == nil {
			c.Close()
		}
		return err
	}
	for _, file := range []string{submitterFile, nodeFile} {
		if err := open(file); err == nil || !strings.Contains(err.Error(), "is not there, and this key may not make it") || !strings.Contains(err.Error(), "operator") {
			t.Errorf("got %v, want that a stream is not there, and the cure", err)
		}
	}
	for _, file := range []string{operatorFile, submitterFile, nodeFile} {
		if err := open(file); err != nil {
			t.Error(err)
		}
	}
}
