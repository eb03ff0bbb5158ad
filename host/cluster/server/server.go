//go:build !noserver

// Package server runs a nats-server inside this process, which stores what a cluster carries.
package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"

	"github.com/parhost/parhost/host/cluster/internal/carrier"
)

// Config says where a server listens, and what it keeps. A field that is zero has the default that its comment states.
type Config struct {
	// Listen is the address for clients, such as 127.0.0.1:4222. Port 0 is any free one. Default: the server listens nowhere, and serves this process alone.
	Listen string
	// Store is the folder in which it keeps its data. Default: a temporary one, which Shutdown removes.
	Store string
	// Name is the server's. Three servers of a cluster need three names. Default: the name of the machine.
	Name string
	// Peers are the addresses at which the other servers of the cluster listen for this one, host:port. Default: there are none.
	Peers []string
	// PeerListen is the address for the other servers. It has to be set with Peers.
	PeerListen string
	// PeerSecret is what the servers of a cluster show each other. Whoever knows it has all rights. Default: none, so whoever reaches PeerListen is a server.
	PeerSecret string
	// TLS is for clients and for peers; see [LoadTLS]. If it has ClientCAs, clients need a certificate of them. Default: connections are not encrypted.
	TLS *tls.Config
	// Users are those who may connect. With users, the streams are made by [Server.MakeStreams]. Default: everybody.
	Users []User
	// MaxStore limits the bytes on disk. Default: three quarters of what is free.
	MaxStore int64
	// Logger gets the server's log. Default: discards it.
	Logger hclog.Logger
}

// Server is a server that runs.
type Server struct {
	s     *server.Server
	tls   bool
	users []User
	own   *carrier.Key // of this process, with all rights; nil if everybody has them
	log   hclog.Logger
	temp  string // temporary folder; empty if there is none
	since time.Time
}

// readyTime is how long a start may take.
const readyTime = 10 * time.Second

// Open starts a server.
func Open(cfg Config) (*Server, error) {
	if cfg.Logger == nil {
		cfg.Logger = hclog.NewNullLogger()
	}
	if cfg.Name == "" {
		cfg.Name, _ = os.Hostname()
	}
	o := &server.Options{
		ServerName: cfg.Name, NoSigs: true, JetStream: true, DontListen: cfg.Listen == "", StoreDir: cfg.Store, JetStreamMaxStore: cfg.MaxStore,
		SyncAlways: true, MaxPayload: maxPayload, NoSystemAccount: len(cfg.Peers) == 0,
		PingInterval: pingTime, MaxPingsOut: 2,
		TLSConfig: strict(cfg.TLS), TLSVerify: cfg.TLS != nil && cfg.TLS.ClientCAs != nil,
	}
	if cfg.TLS != nil {
		o.TLSTimeout = 5
	}
	var err error
	if cfg.Listen != "" {
		if o.Host, o.Port, err = split(cfg.Listen); err != nil {
			return nil, fmt.Errorf("listen: %w", err)
		}
		l, err := net.Listen("tcp", cfg.Listen) // nats-server would only log that it cannot
		if err != nil {
			return nil, err
		}
		_ = l.Close()
		if o.Port == 0 {
			o.Port = server.RANDOM_PORT
		}
	}
	if len(cfg.Peers) > 0 {
		o.Cluster.Name = "parhost"
		if o.Cluster.Host, o.Cluster.Port, err = split(cfg.PeerListen); err != nil {
			return nil, fmt.Errorf("peer listen: %w", err)
		}
		for _, peer := range cfg.Peers {
			route := &url.URL{Scheme: "nats-route", Host: peer}
			if cfg.PeerSecret != "" {
				route.User = url.UserPassword(peerUser, cfg.PeerSecret)
			}
			o.Routes = append(o.Routes, route)
		}
		if cfg.PeerSecret != "" {
			o.Cluster.Username, o.Cluster.Password = peerUser, cfg.PeerSecret
		}
		if cfg.TLS != nil {
			o.Cluster.TLSConfig, o.Cluster.TLSTimeout = strict(cfg.TLS), 5
		}
	}
	if o.Nkeys, err = users(cfg.Users); err != nil {
		return nil, err
	}
	own, err := ownKey(cfg.Users, o)
	if err != nil {
		return nil, err
	}
	temp := ""
	if cfg.Store == "" {
		if temp, err = os.MkdirTemp("", "parhost-serve-"); err != nil {
			return nil, err
		}
		o.StoreDir = temp
	}
	s, err := server.NewServer(o)
	if err != nil {
		_ = os.RemoveAll(temp)
		return nil, err
	}
	opened := &Server{s: s, tls: cfg.TLS != nil, users: cfg.Users, own: own, log: cfg.Logger, temp: temp, since: time.Now()}
	s.SetLoggerV2(logger{cfg.Logger}, cfg.Logger.IsDebug(), false, false)
	s.Start()
	if !s.ReadyForConnections(readyTime) {
		opened.Shutdown()
		return nil, fmt.Errorf("the server is not ready after %v", readyTime)
	}
	if !s.JetStreamEnabled() {
		opened.Shutdown()
		return nil, errors.New("the server could not open its store; its log says why")
	}
	return opened, nil
}

// ownKey adds an operator of this process to the server's users, who makes the streams. Its key is nowhere else, and gone when the process ends.
func ownKey(list []User, o *server.Options) (*carrier.Key, error) {
	if len(list) == 0 {
		return nil, nil
	}
	pair, err := nkeys.CreateUser()
	if err != nil {
		return nil, err
	}
	public, err := pair.PublicKey()
	if err != nil {
		return nil, err
	}
	o.Nkeys = append(o.Nkeys, &server.NkeyUser{Nkey: public})
	return &carrier.Key{Public: public, Sign: pair.Sign}, nil
}

// MakeStreams makes the streams of the tenants in Config.Users that are not there, because submitters and nodes may not. Of servers that are peers, each may
// do it. It waits until the servers have elected a leader.
//
// Without users it does nothing: those who connect make what they need.
func (s *Server) MakeStreams(ctx context.Context) error {
	if s.own == nil {
		return nil
	}
	names := tenants(s.users)
	if len(names) == 0 { // all streams but those of results, for nodes that are there before the first tenant
		names = []string{"default"}
	}
	for _, name := range names {
		c, err := carrier.Open(ctx, carrier.Options{InProcess: s, Name: "parhost serve", Key: s.own, Tenant: name, LeaseTime: time.Second, Logger: s.log})
		if err != nil {
			return fmt.Errorf("make the streams of tenant %q: %w", name, err)
		}
		c.Close()
	}
	return nil
}

// pingTime is how often clients and peers are asked whether they are still there. A peer that is cut off or stopped closes no connection, and until it is found
// out, questions that any replica may answer are sent to it too, and lost.
const pingTime = 2 * time.Second

// peerUser is the name under which servers show each other their secret.
const peerUser = "peer"

// maxPayload is the largest message. Larger contents are stored in parts.
const maxPayload = 1 << 20

func split(address string) (host string, port int, err error) {
	host, digits, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, err
	}
	if port, err = strconv.Atoi(digits); err != nil || port < 0 || port > 65535 {
		return "", 0, fmt.Errorf("%q is no port", digits)
	}
	return host, port, nil
}

// URL returns the address for clients.
func (s *Server) URL() string {
	u := s.s.ClientURL()
	if s.tls {
		return strings.Replace(u, "nats://", "tls://", 1)
	}
	return u
}

// InProcessConn returns a connection of this process.
func (s *Server) InProcessConn() (net.Conn, error) { return s.s.InProcessConn() }

// Shutdown ends the server. What it has stored stays.
func (s *Server) Shutdown() {
	s.s.Shutdown()
	s.s.WaitForShutdown()
	if s.temp != "" {
		_ = os.RemoveAll(s.temp)
	}
}

// logger writes the server's log to an hclog.Logger.
type logger struct{ to hclog.Logger }

func (l logger) Noticef(format string, v ...any) { l.to.Info(fmt.Sprintf(format, v...)) }
func (l logger) Warnf(format string, v ...any)   { l.to.Warn(fmt.Sprintf(format, v...)) }
func (l logger) Fatalf(format string, v ...any)  { l.to.Error(fmt.Sprintf(format, v...)) }
func (l logger) Errorf(format string, v ...any) {
	text := fmt.Sprintf(format, v...)
	l.to.Error(text)
	if strings.Contains(text, "critical write error") { // the server gives the stream up until it is started again, and leaves those who write to it without an answer
		l.to.Error("this server stores no more of that; look at its disk, make room, and start the server again")
	}
}
func (l logger) Debugf(format string, v ...any) { l.to.Debug(fmt.Sprintf(format, v...)) }
func (l logger) Tracef(format string, v ...any) { l.to.Trace(fmt.Sprintf(format, v...)) }
