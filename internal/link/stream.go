package link

import (
	"context"
	"errors"
	"io"
	"os"
	"time"

	"github.com/parhost/parhost/internal/wire/workerpb"
)

// Conversation carries messages to a worker and back: over the gRPC stream, or over a link.
type Conversation interface {
	Send(*workerpb.WorkRequest) error
	Recv() (*workerpb.WorkResponse, error)
	CloseSend() error
}

var (
	_ Conversation = workerpb.WorkerService_WorkClient(nil)
	_ Conversation = (*Client)(nil)
)

// Client is the host's end of a Work stream whose messages go over a link. The gRPC stream only carries the status with which it ends.
type Client struct {
	workerpb.WorkerService_WorkClient
	link  *Link
	grace time.Duration
	first func()
	end   func()
	ended chan struct{} // closed when the gRPC stream has ended
	err   error         // the error with which the gRPC stream ended; valid once ended is closed
}

// NewClient begins to use the link. When the link or the stream has ended, the other one must end within grace, or the client ends it; end must
// break the stream. first is called once when the link has ended, which may be some time before Recv returns the error.
func NewClient(stream workerpb.WorkerService_WorkClient, l *Link, grace time.Duration, first, end func()) *Client {
	l.adoptRings()
	c := &Client{WorkerService_WorkClient: stream, link: l, grace: grace, first: first, end: end, ended: make(chan struct{})}
	go func() {
		defer close(c.ended)
		if _, c.err = stream.Recv(); c.err == nil {
			c.err = errors.New("a message on the stream, though there is a link")
			end()
		}
		l.expire(time.Now().Add(grace)) // another process may hold the other ends of the link open
	}()
	return c
}

// Send sends a request over the link.
func (c *Client) Send(m *workerpb.WorkRequest) error { return c.link.Send(m, nil) }

// SendOr does what Send does. If it has to wait until the worker makes room, it calls full once before, and the function that full returned after.
func (c *Client) SendOr(m *workerpb.WorkRequest, full func() (stop func())) error {
	return c.link.Send(m, full)
}

// Recv returns the next response, or the error with which the stream ended.
func (c *Client) Recv() (*workerpb.WorkResponse, error) {
	m := new(workerpb.WorkResponse)
	err := c.link.Recv(m)
	if err == nil {
		return m, nil
	}
	c.first()
	if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, os.ErrClosed) {
		c.end()
		<-c.ended
		return nil, err
	}
	defer time.AfterFunc(c.grace, c.end).Stop()
	<-c.ended
	return nil, c.err
}

// CloseSend tells the worker that no more messages come.
func (c *Client) CloseSend() error {
	return errors.Join(c.link.CloseSend(), c.WorkerService_WorkClient.CloseSend())
}

// Server is the worker's end of a Work stream whose messages go over a link.
type Server struct {
	workerpb.WorkerService_WorkServer
	link *Link
}

// NewServer begins to use the link, and closes it when the stream ends.
func NewServer(stream workerpb.WorkerService_WorkServer, l *Link) *Server {
	context.AfterFunc(stream.Context(), l.Close)
	return &Server{WorkerService_WorkServer: stream, link: l}
}

// Send sends a response over the link.
func (s *Server) Send(m *workerpb.WorkResponse) error { return s.link.Send(m, nil) }

// Recv returns the next request, or the error with which the stream ended. The error is io.EOF only if the host closed its side of the stream.
func (s *Server) Recv() (*workerpb.WorkRequest, error) {
	m := new(workerpb.WorkRequest)
	err := s.link.Recv(m)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, os.ErrClosed) {
		return s.WorkerService_WorkServer.Recv()
	}
	return m, err
}
