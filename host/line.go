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
	conn = impatient{conn}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn != nil || l.over {
		return nil, errors.Join(errors.New("a worker is called once"), conn.Close())
	}
	l.conn = conn
	return conn, nil
}

// impatient is a connection whose Close does not wait without a bound for a read that is under way: before Linux 6.16 a worker can make one
// last, by a descriptor that it sends along and that takes long to close.
type impatient struct{ net.Conn }

func (c impatient) Close() error {
	patiently(func() { _ = c.Conn.Close() })
	return nil
}

// hangUp ends the connection from this side alone. gRPC would first wait for 5 s to say its farewell to somebody who does not read.
func (l *line) hangUp() {
	l.mu.Lock()
	l.over = true
	conn := l.conn
	l.mu.Unlock()
	if conn != nil {
		_ = conn.Close()
	}
}
