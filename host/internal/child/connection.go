package child

import (
	"errors"
	"net"
	"sync"
)

// connection is the host's one connection to a worker. It is a type of its own so that the timer that hangs up later keeps nothing else of the
// worker in memory.
type connection struct {
	mu      sync.Mutex
	conn    net.Conn
	closed  bool // no connection is accepted any more
	ended   bool // the worker has ended it, or it broke
	refused bool // gRPC has ended it while it held, because of what came over it
}

// set makes conn the connection, if it is the first: a worker that closes its connection has ended.
func (c *connection) set(conn net.Conn) (net.Conn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn != nil || c.closed {
		return nil, errors.Join(errors.New("a worker is called once"), conn.Close())
	}
	c.conn = boundedConn{conn, c}
	return c.conn, nil
}

// wasRefused reports whether gRPC has ended the connection because of what came over it.
func (c *connection) wasRefused() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.refused
}

// boundedConn is a connection whose Close does not wait without a bound for a read that is under way: before Linux 6.16 a worker can make a
// read last, by sending a descriptor along that takes long to close.
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

// hangUp closes the connection without gRPC's farewell: gRPC would wait for 5 s to send it to a worker that does not read.
func (c *connection) hangUp() {
	c.mu.Lock()
	c.closed = true
	conn := c.conn
	c.mu.Unlock()
	if conn != nil {
		_ = conn.Close()
	}
}
