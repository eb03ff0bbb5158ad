package link

import (
	"context"
	"errors"
	"io"
	"os"
	"time"

	"github.com/parhost/parhost/internal/wire/workerpb"
)

// Conversation carries messages to a worker and back: gRPC's stream, or past it the link's.
type Conversation interface {
	Send(*workerpb.WorkRequest) error
	Recv() (*workerpb.WorkResponse, error)
	CloseSend() error
}

var (
	_ Conversation = workerpb.WorkerService_WorkClient(nil)
	_ Conversation = (*Client)(nil)
)

// Client is the host's end of a Work stream whose messages go over a link. The stream itself is left to say how it ends.
type Client struct {
	workerpb.WorkerService_WorkClient
	link  *Link
	grace time.Duration
	first func()
	end   func()
	ended chan struct{} // closed when the stream has ended
	err   error         // with which it did
}

// NewClient begins to use the link. Whichever of link and stream ends first, the other has the grace to do so too: end breaks the
// stream. first is called once when the link has ended, which is some time before Recv says so.
func NewClient(stream workerpb.WorkerService_WorkClient, l *Link, grace time.Duration, first, end func()) *Client {
	l.adoptRings()
	c := &Client{WorkerService_WorkClient: stream, link: l, grace: grace, first: first, end: end, ended: make(chan struct{})}
	go func() {
		defer close(c.ended)
		if _, c.err = stream.Recv(); c.err == nil {
			c.err = errors.New("a message on the stream, though there is a link")
			end()
		}
		l.expire(time.Now().Add(grace)) // another process may hold the other ends
	}()
	return c
}

// Send sends a request over the link.
func (c *Client) Send(m *workerpb.WorkRequest) error { return c.link.Send(m, nil) }

// SendOr is Send, but calls full once if the worker has to read before there is room, and what that returned when it has.
func (c *Client) SendOr(m *workerpb.WorkRequest, full func() (stop func())) error {
	return c.link.Send(m, full)
}

// Recv returns the next response, or what the stream ended with.
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

// CloseSend tells the worker that nothing more comes.
func (c *Client) CloseSend() error {
	return errors.Join(c.link.CloseSend(), c.WorkerService_WorkClient.CloseSend())
}

// Server is the worker's end.
type Server struct {
	workerpb.WorkerService_WorkServer
	link *Link
}

// NewServer begins to use the link, which it closes when the stream ends.
func NewServer(stream workerpb.WorkerService_WorkServer, l *Link) *Server {
	context.AfterFunc(stream.Context(), l.Close)
	return &Server{WorkerService_WorkServer: stream, link: l}
}

// Send sends a response over the link.
func (s *Server) Send(m *workerpb.WorkResponse) error { return s.link.Send(m, nil) }

// Recv returns the next request, or what the stream ended with: io.EOF only if the host meant it.
func (s *Server) Recv() (*workerpb.WorkRequest, error) {
	m := new(workerpb.WorkRequest)
	err := s.link.Recv(m)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, os.ErrClosed) {
		return s.WorkerService_WorkServer.Recv()
	}
	return m, err
}
