package carrier

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parhost/parhost/host/cluster/internal/engine"
)

// Bounds of a pool's consumer. The defaults of the server, 1000 and 512, are too small for a large cluster.
const (
	maxLeased  = 1 << 16
	maxWaiting = 1 << 16
)

// pool returns the consumer of a pool, which all its nodes share. It is never removed, because work queues have lost messages when consumers were.
func (c *Carrier) pool(ctx context.Context, name string) (jetstream.Consumer, error) {
	c.mu.Lock()
	cons := c.pools[name]
	c.mu.Unlock()
	if cons != nil {
		return cons, nil
	}
	cons, err := c.consumer(ctx, workStream, "w_"+name)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		cons, err = c.reads(ctx, workStream, jetstream.ConsumerConfig{
			Durable: "w_" + name, FilterSubject: workPrefix + name + ".>", AckPolicy: jetstream.AckExplicitPolicy, AckWait: c.LeaseTime(),
			MaxDeliver: -1, MaxAckPending: maxLeased, MaxWaiting: maxWaiting,
		})
		if errors.Is(err, jetstream.ErrConsumerExists) {
			cons, err = c.consumer(ctx, workStream, "w_"+name)
		}
	}
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pools[name] = cons
	if wait := cons.CachedInfo().Config.AckWait; wait > 0 {
		c.lease = min(c.lease, wait)
	}
	return cons, nil
}

// forget makes the next call of pool ask the server.
func (c *Carrier) forget(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.pools, name)
}

// Lease implements [engine.Receiver]. It asks for one batch at a time, because a batch that waits in a client for a free slot is lost to all others.
func (c *Carrier) Lease(ctx context.Context, pool string) (engine.Lease, error) {
	for wait := time.Duration(0); ; wait = min(2*wait+50*time.Millisecond, 2*time.Second) {
		if wait > 50*time.Millisecond {
			select {
			case <-ctx.Done():
			case <-time.After(wait):
			}
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		m, err := c.pull(ctx, pool)
		switch {
		case m != nil:
			l := &lease{c: c, m: m}
			if l.key, err = keyOf(m.Subject()); err == nil {
				return l, nil
			}
			_ = m.Term()
		case errors.Is(err, errNone):
			wait = 0
		case errors.Is(err, jetstream.ErrStreamNotFound):
			c.forget(pool)
			_ = c.bind(ctx)
		case err != nil && !transient(err) && ctx.Err() == nil:
			return nil, said(err)
		default:
			c.forget(pool)
			c.log.Debug("no batch can be had; it is tried again", "pool", pool, "err", err)
		}
	}
}

var errNone = errors.New("nothing waits")

// pullTime is how long a request for a batch waits at the server. It is short because a consumer whose leader has changed may never answer.
const pullTime = 5 * time.Second

func (c *Carrier) pull(ctx context.Context, pool string) (jetstream.Msg, error) {
	cons, err := c.pool(ctx, pool)
	if err != nil {
		return nil, err
	}
	var m jetstream.Msg
	err = c.guardFor(ctx, pullTime, apiPrefix+"CONSUMER.MSG.NEXT."+workStream+".w_"+pool, func(ctx context.Context) error {
		batch, err := cons.Fetch(1, jetstream.FetchContext(ctx), jetstream.FetchHeartbeat(time.Second))
		if err != nil {
			return err
		}
		for m = range batch.Messages() {
			return nil
		}
		return batch.Error()
	})
	if m != nil {
		return m, nil
	}
	if err == nil || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrTimeout) {
		return nil, errNone
	}
	return nil, err
}

// lease is a message of the work queue.
type lease struct {
	c   *Carrier
	m   jetstream.Msg
	key engine.Key
}

// Key implements [engine.Lease].
func (l *lease) Key() engine.Key { return l.key }

// Body implements [engine.Lease].
func (l *lease) Body(ctx context.Context) ([]byte, error) {
	return l.c.body(ctx, l.key.Tenant, l.m.Headers(), l.m.Data())
}

// Deliveries implements [engine.Lease].
func (l *lease) Deliveries() int {
	md, err := l.m.Metadata()
	if err != nil {
		return 1
	}
	return int(md.NumDelivered)
}

// Extend implements [engine.Lease].
func (l *lease) Extend() error { return l.m.InProgress() }

// Store implements [engine.Lease]. A lost acknowledgement means that another node gets the batch, and finds the result.
func (l *lease) Store(ctx context.Context, r engine.Result) error {
	m := &nats.Msg{Subject: resultSubject(l.key), Header: nats.Header{}}
	m.Header.Set(itemsHeader, strconv.Itoa(r.Items))
	if _, err := l.c.store(ctx, m, l.key.Tenant, r.Body); err != nil {
		return err
	}
	return l.m.Ack()
}

// Drop implements [engine.Lease].
func (l *lease) Drop() error { return l.m.Term() }

// GiveBack implements [engine.Lease].
func (l *lease) GiveBack(delay time.Duration) error { return l.m.NakWithDelay(delay) }
