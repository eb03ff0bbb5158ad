package child

import (
	"errors"
	"net"
	"sync"
)

// connection is the host's only connection to a worker. It is a separate type so that the timer that hangs up later does not keep the rest of the worker in
// memory.
type connection struct {
	mu      sync.Mutex
	conn    net.Conn
	closed  bool // no more connections are accepted
	ended   bool // the worker has ended the connection, or the connection broke
	refused bool // gRPC has closed the intact connection, because of what it received
}

// set makes conn the connection. It refuses a second one: a worker whose connection has closed has ended.
func (c *connection) set(conn net.Conn) (net.Conn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn != nil || c.closed {
		return nil, errors.Join(errors.New("a worker is called once"), conn.Close())
	}
	c.conn = boundedConn{conn, c}
	return c.conn, nil
}

// wasRefused reports whether gRPC has closed the connection because of what it received.
func (c *connection) wasRefused() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.refused
}

// boundedConn is a connection whose Close waits only for a bounded time for a read that is under way. Before Linux 6.16 a worker can make a read last, by
// sending a descriptor that takes long to close.
type boundedConn struct {
	net.Conn
	of *connection
}

func (c boundedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err != nil {
		c.of.mu.Lock()
		c.of.ended = true
		c.of.mu.Unlock()
	}
	return n, err
}

func (c boundedConn) Close() error {
	c.of.mu.Lock()
	c.of.refused = c.of.refused || !c.of.ended && !c.of.closed
	c.of.mu.Unlock()
	Bounded(func() { _ = c.Conn.Close() })
	return nil
}

// hangUp closes the connection without gRPC's final messages: gRPC would wait 5 s to send them to a worker that does not read.
func (c *connection) hangUp() {
	c.mu.Lock()
	c.closed = true
	conn := c.conn
	c.mu.Unlock()
	if conn != nil {
		_ = conn.Close()
	}
}
