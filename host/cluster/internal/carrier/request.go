package carrier

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parhost/parhost/host/cluster/internal/engine"
)

// apiPrefix begins the subjects of requests to JetStream.
const apiPrefix = "$JS.API."

// publish stores a message in the stream that its subject leads to.
func (c *Carrier) publish(ctx context.Context, m *nats.Msg) (revision uint64, err error) {
	err = c.guard(ctx, m.Subject, func(ctx context.Context) error {
		ack, err := c.js.PublishMsg(ctx, m, jetstream.WithRetryAttempts(0))
		if err == nil {
			revision = ack.Sequence
		}
		return err
	})
	c.remake(ctx, err)
	return revision, err
}

// last returns the last message of a subject, or [engine.ErrNotFound]. Of all the ways to read a message it is the only one whose request has the subject
// where permissions reach.
func (c *Carrier) last(ctx context.Context, stream, subject string) (m *nats.Msg, err error) {
	request := apiPrefix + "DIRECT.GET." + stream + "." + subject
	err = c.guard(ctx, request, func(ctx context.Context) error {
		m, err = c.nc.RequestWithContext(ctx, request, nil)
		return err
	})
	if err != nil {
		c.remake(ctx, err)
		return nil, said(err)
	}
	switch status := m.Header.Get("Status"); status {
	case "":
		return m, nil
	case "404":
		return nil, engine.ErrNotFound
	default:
		return nil, fmt.Errorf("%s: the server answers %s %s", subject, status, m.Header.Get("Description"))
	}
}

// revisionOf returns the place of a message in its stream.
func revisionOf(m *nats.Msg) (uint64, error) {
	n, err := strconv.ParseUint(m.Header.Get("Nats-Sequence"), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("the server gives %s no sequence number: %w", m.Subject, err)
	}
	return n, nil
}

// stream returns a stream and its state.
func (c *Carrier) stream(ctx context.Context, name string, options ...jetstream.StreamInfoOpt) (s jetstream.Stream, err error) {
	err = c.guard(ctx, apiPrefix+"STREAM.INFO."+name, func(ctx context.Context) error {
		if s, err = c.js.Stream(ctx, name); err == nil && len(options) > 0 {
			_, err = s.Info(ctx, options...)
		}
		return err
	})
	return s, err
}

// consumer returns a consumer that is there.
func (c *Carrier) consumer(ctx context.Context, stream, name string) (cons jetstream.Consumer, err error) {
	err = c.guard(ctx, apiPrefix+"CONSUMER.INFO."+stream+"."+name, func(ctx context.Context) error {
		cons, err = c.js.Consumer(ctx, stream, name)
		return err
	})
	return cons, err
}

// reads makes a consumer of one subject. The server compares the subject in the request's own, where permissions reach, with the one in its body.
func (c *Carrier) reads(ctx context.Context, stream string, cfg jetstream.ConsumerConfig) (cons jetstream.Consumer, err error) {
	request := apiPrefix + "CONSUMER.CREATE." + stream + "." + max(cfg.Name, cfg.Durable) + "." + cfg.FilterSubject
	err = c.guard(ctx, request, func(ctx context.Context) error {
		cons, err = c.js.CreateConsumer(ctx, stream, cfg)
		return err
	})
	return cons, err
}

// askRights finds out what the server allows this user. A user to whom it gives no permissions may do everything, and so make streams.
func (c *Carrier) askRights(ctx context.Context) {
	err := c.guard(ctx, userSubject, func(ctx context.Context) error {
		m, err := c.nc.RequestWithContext(ctx, userSubject, nil)
		if err != nil {
			return err
		}
		var answer struct {
			Data struct {
				Permissions *struct {
					Publish struct{ Allow, Deny []string }
				}
			}
		}
		if err := json.Unmarshal(m.Data, &answer); err != nil {
			return err
		}
		if p := answer.Data.Permissions; p != nil {
			c.restricted = len(p.Publish.Allow)+len(p.Publish.Deny) > 0
			c.isNode = slices.Contains(p.Publish.Allow, resultPrefix+"*.*.*")
		}
		return nil
	})
	if err != nil {
		c.log.Debug("the server does not say what this user may do", "err", err)
	}
	c.restricted = c.restricted || errors.Is(err, nats.ErrPermissionViolation)
}

// userSubject is where a server says who asks.
const userSubject = "$SYS.REQ.USER.INFO"
