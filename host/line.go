package host

import (
	"errors"
	"net"
	"sync"
)

// line is the host's one connection to a worker. It is apart from all else that the host knows of the worker, so that who is to hang up some
// time later does not keep that in memory.
type line struct {
	mu   sync.Mutex
	conn net.Conn
	over bool // no connection is taken any more
}

// take makes conn the connection, if it is the first: a worker that closes its connection has ended.
func (l *line) take(conn net.Conn) (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn != nil || l.over {
		return nil, errors.Join(errors.New("a worker is called once"), conn.Close())
	}
	l.conn = conn
	return conn, nil
}

// hangUp ends the connection from this side alone. gRPC would first wait for 5 s to say its farewell to somebody who does not read.
func (l *line) hangUp() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.over = true
	if l.conn != nil {
		_ = l.conn.Close()
	}
}
